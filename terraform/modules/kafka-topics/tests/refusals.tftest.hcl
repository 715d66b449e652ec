# What a plan refuses. `Says:` is a part of the message; tests/terraform/modules.sh holds it to that.

mock_provider "kafka" {}

variables {
  families = { stream = ["chat.message"] }
}

run "as_many_replicas_in_sync_as_there_are" {
  command = plan
  # Says: one broker that is down stops every write
  variables {
    min_insync_replicas = 3
  }
  expect_failures = [var.min_insync_replicas]
}

run "a_provider_that_no_catalogue_has" {
  command = plan
  # Says: Others belong into custom_families
  variables {
    families = { strem = [] }
  }
  expect_failures = [var.families]
}

run "a_family_that_the_catalogue_lacks" {
  command = plan
  # Says: the catalogue lacks: stream.chat.mesage
  variables {
    families = { stream = ["chat.mesage"] }
  }
  expect_failures = [var.families]
}

run "a_catalogued_provider_as_ones_own" {
  command = plan
  # Says: use `families` for it
  variables {
    custom_families = { github = ["push"] }
  }
  expect_failures = [var.custom_families]
}

run "a_family_with_capital_letters" {
  command = plan
  # Says: Providers and families are 1 to 63 of a-z
  variables {
    custom_families = { billing = ["Invoices"] }
  }
  expect_failures = [var.custom_families]
}

run "a_template_with_a_place_that_there_is_not" {
  command = plan
  # Says: topic_template is made of letters
  variables {
    topic_template = "{provider}.{source}"
  }
  expect_failures = [var.topic_template]
}

run "a_template_that_begins_like_the_clusters_own_topics" {
  command = plan
  # Says: does not begin with `__`
  variables {
    topic_template = "__{family}"
  }
  expect_failures = [var.topic_template]
}

run "no_partition" {
  command = plan
  # Says: partitions is a whole number between 1 and 1000
  variables {
    partitions = 0
  }
  expect_failures = [var.partitions]
}

run "half_a_replica" {
  command = plan
  # Says: replication_factor is a whole number
  variables {
    replication_factor = 2.5
  }
  expect_failures = [var.replication_factor]
}

run "no_retention" {
  command = plan
  # Says: retention_hours is at least 1, or -1
  variables {
    retention_hours = 0
  }
  expect_failures = [var.retention_hours]
}

run "a_retention_of_a_few_bytes" {
  command = plan
  # Says: retention_bytes is at least 1048576
  variables {
    retention_bytes = 1000
  }
  expect_failures = [var.retention_bytes]
}

run "messages_smaller_than_events_are" {
  command = plan
  # Says: message_bytes_max is between 262144
  variables {
    message_bytes_max = 1000
  }
  expect_failures = [var.message_bytes_max]
}

run "compaction_which_removes_events" {
  command = plan
  # Says: compaction keeps one event of each key and removes the others
  variables {
    config = { "cleanup.policy" = "compact" }
  }
  expect_failures = [var.config]
}

run "unclean_elections_which_forget_records" {
  command = plan
  # Says: it lets a leader forget delivered records
  variables {
    config = { "unclean.leader.election.enable" = "true" }
  }
  expect_failures = [var.config]
}

run "a_property_with_a_variable_of_its_own" {
  command = plan
  # Says: config has a property with a variable of its own
  variables {
    config = { "min.insync.replicas" = "1" }
  }
  expect_failures = [var.config]
}

run "an_override_of_a_topic_that_there_is_not" {
  command = plan
  # Says: overrides names a topic that the module does not make: stream.user
  variables {
    overrides = { "stream.user" = { partitions = 3 } }
  }
  expect_failures = [var.overrides]
}

run "an_override_that_makes_a_topic_less_safe" {
  command = plan
  # Says: overrides[].config cannot have min.insync.replicas
  variables {
    overrides = { "stream.chat.message" = { config = { "min.insync.replicas" = "1" } } }
  }
  expect_failures = [var.overrides]
}

run "an_override_without_partitions" {
  command = plan
  # Says: overrides[].partitions is at least 1
  variables {
    overrides = { "stream.chat.message" = { partitions = 0 } }
  }
  expect_failures = [var.overrides]
}

run "two_overrides_of_one_topic" {
  command = plan
  # Says: Two overrides are of one topic
  variables {
    families       = { stream = ["chat.message", "user"] }
    topic_template = "{provider}"
    overrides      = { "stream.chat.message" = { partitions = 3 }, "stream.user" = { partitions = 4 } }
  }
  expect_failures = [var.overrides]
}

run "everybody_as_producer" {
  command = plan
  # Says: `User:*` would be everybody
  variables {
    producer = "User:*"
  }
  expect_failures = [var.producer]
}

run "everybody_as_consumer" {
  command = plan
  # Says: `User:*` would be everybody
  variables {
    consumers = { all = { principal = "User:*", groups = ["all"] } }
  }
  expect_failures = [var.consumers]
}

run "a_consumer_without_a_group" {
  command = plan
  # Says: consumers[].groups are one or more names
  variables {
    consumers = { billing = { principal = "User:billing", groups = [] } }
  }
  expect_failures = [var.consumers]
}

run "a_consumer_of_a_topic_that_there_is_not" {
  command = plan
  # Says: consumers[].topics names a topic that the module does not make
  variables {
    consumers = { billing = { principal = "User:billing", groups = ["billing"], topics = ["stream.user"] } }
  }
  expect_failures = [var.consumers]
}

run "a_name_that_is_too_long" {
  command = plan
  # Says: A Kafka topic has 1 to 249 characters
  variables {
    topic_template = join("", concat(["{family}"], [for n in range(250) : "x"]))
  }
  expect_failures = [kafka_topic.this]
}
