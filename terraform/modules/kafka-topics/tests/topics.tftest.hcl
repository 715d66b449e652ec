# Topics and ACLs as they would be made. The provider is a stand-in, so no broker is needed.

mock_provider "kafka" {}

variables {
  families = { stream = ["chat.message", "video.session"] }
}

run "families_get_the_topics_that_the_bridge_writes_to" {
  command = plan

  assert {
    condition = output.topics == tomap({
      "stream.chat.message"  = "stream.chat.message"
      "stream.video.session" = "stream.video.session"
    })
    error_message = "A topic is not named {provider}.{family}."
  }

  assert {
    condition     = output.topic_template == "{provider}.{family}"
    error_message = "The sink's topic is not the template."
  }

  assert {
    condition = alltrue([
      for topic in values(kafka_topic.this) : topic.partitions == 12 && topic.replication_factor == 3
    ])
    error_message = "Topics do not have twelve partitions on three brokers."
  }

  assert {
    condition     = output.partition_replicas == 72
    error_message = "Two topics of twelve partitions on three brokers are 72 replicas of partitions."
  }

  assert {
    condition = kafka_topic.this["stream.chat.message"].config == tomap({
      "cleanup.policy"                 = "delete"
      "max.message.bytes"              = "1048588"
      "min.insync.replicas"            = "2"
      "retention.bytes"                = "-1"
      "retention.ms"                   = "604800000"
      "unclean.leader.election.enable" = "false"
    })
    error_message = "A topic's properties are not the safe ones."
  }

  assert {
    condition     = length(kafka_acl.this) == 0
    error_message = "Nobody was named, and there are ACLs."
  }
}

run "an_empty_list_takes_every_family_of_the_catalogue_and_the_unclassified" {
  command = plan

  variables {
    families = { stream = [], github = ["push"] }
  }

  assert {
    condition = output.topics == tomap(merge({ "github.push" = "github.push" }, {
      for entry in jsondecode(file("../../families.json")).providers.stream.families :
      "stream.${entry.family}" => entry.kafka
    }))
    error_message = "The topics are not those of the catalogue."
  }

  assert {
    condition     = contains(keys(output.topics), "stream.unclassified")
    error_message = "A type that no catalogue has would have no topic."
  }
}

run "a_provider_of_ones_own_and_a_template_of_ones_own" {
  command = plan

  variables {
    families        = {}
    custom_families = { billing = ["invoices"] }
    topic_template  = "prod.{provider}_{family}.v1"
  }

  assert {
    condition     = output.topics == tomap({ "billing.invoices" = "prod.billing_invoices.v1" })
    error_message = "The template was not filled in."
  }
}

run "families_that_share_a_topic_are_one_topic" {
  command = plan

  variables {
    topic_template = "events.{provider}"
  }

  assert {
    condition     = keys(kafka_topic.this) == ["events.stream"]
    error_message = "There is more than one topic."
  }

  assert {
    condition     = toset(values(output.topics)) == toset(["events.stream"])
    error_message = "A family has another topic."
  }
}

run "one_topic_differs_from_the_others" {
  command = plan

  variables {
    config = { "segment.ms" = "3600000" }
    overrides = {
      "stream.chat.message" = {
        partitions      = 48
        retention_hours = -1
        retention_bytes = 10737418240
        config          = { "compression.type" = "zstd" }
      }
    }
  }

  assert {
    condition = (
      kafka_topic.this["stream.chat.message"].partitions == 48
      && kafka_topic.this["stream.video.session"].partitions == 12
    )
    error_message = "The partitions are not as stated."
  }

  assert {
    condition = kafka_topic.this["stream.chat.message"].config == tomap({
      "cleanup.policy"                 = "delete"
      "compression.type"               = "zstd"
      "max.message.bytes"              = "1048588"
      "min.insync.replicas"            = "2"
      "retention.bytes"                = "10737418240"
      "retention.ms"                   = "-1"
      "segment.ms"                     = "3600000"
      "unclean.leader.election.enable" = "false"
    })
    error_message = "The topic does not have what is stated of it beside what is stated of all."
  }

  assert {
    condition = (
      kafka_topic.this["stream.video.session"].config["segment.ms"] == "3600000"
      && !contains(keys(kafka_topic.this["stream.video.session"].config), "compression.type")
    )
    error_message = "The other topic has what is not stated of it."
  }
}

run "the_producer_writes_and_consumers_read_and_nobody_more" {
  command = plan

  variables {
    producer = "User:fanbridge"
    consumers = {
      billing = { principal = "User:billing", groups = ["billing"], topics = ["stream.video.session"] }
      search  = { principal = "User:search", groups = ["search-"], group_prefix = true }
    }
  }

  assert {
    condition = toset(output.acls) == toset([
      "User:fanbridge Write Topic Literal stream.chat.message",
      "User:fanbridge Write Topic Literal stream.video.session",
      "User:fanbridge Describe Topic Literal stream.chat.message",
      "User:fanbridge Describe Topic Literal stream.video.session",
      "User:fanbridge DescribeConfigs Topic Literal stream.chat.message",
      "User:fanbridge DescribeConfigs Topic Literal stream.video.session",
      "User:billing Read Topic Literal stream.video.session",
      "User:billing Describe Topic Literal stream.video.session",
      "User:billing Read Group Literal billing",
      "User:search Read Topic Literal stream.chat.message",
      "User:search Read Topic Literal stream.video.session",
      "User:search Describe Topic Literal stream.chat.message",
      "User:search Describe Topic Literal stream.video.session",
      "User:search Read Group Prefixed search-",
    ])
    error_message = "The ACLs are not exactly those: ${join(", ", output.acls)}"
  }

  assert {
    condition = alltrue([
      for acl in values(kafka_acl.this) : acl.acl_permission_type == "Allow" && acl.acl_host == "*"
    ])
    error_message = "An ACL is not an allowance from any address."
  }
}

run "a_producer_that_creates_topics_may_create_these_and_no_others" {
  command = plan

  variables {
    families            = { stream = ["chat.message"] }
    producer            = "User:CN=fanbridge,O=Events"
    producer_can_create = true
    acl_host            = "10.0.3.7"
  }

  assert {
    condition = [
      for acl in values(kafka_acl.this) : "${acl.resource_type} ${acl.resource_name} ${acl.acl_host}"
      if acl.acl_operation == "Create"
    ] == ["Topic stream.chat.message 10.0.3.7"]
    error_message = "The producer may create something else, or nothing."
  }
}

run "a_cluster_of_one_broker" {
  command = plan

  variables {
    replication_factor  = 1
    min_insync_replicas = 1
  }

  assert {
    condition     = kafka_topic.this["stream.chat.message"].config["min.insync.replicas"] == "1"
    error_message = "One broker cannot have two replicas in sync."
  }
}
