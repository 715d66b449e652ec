# What a plan refuses. `Says:` is a part of the message; tests/terraform/modules.sh holds it to that.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  name  = "fanbridge"
  trust = { ecs = {} }
}

run "a_name_that_no_role_can_have" {
  command = plan
  # Says: The name of a role has 1 to 64
  variables {
    name = "fan bridge"
  }
  expect_failures = [var.name]
}

run "a_path_without_its_slashes" {
  command = plan
  # Says: A path begins and ends with `/`
  variables {
    path = "events"
  }
  expect_failures = [var.path]
}

run "a_role_as_boundary" {
  command = plan
  # Says: permissions_boundary_arn is the ARN of a policy
  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:role/boundary"
  }
  expect_failures = [var.permissions_boundary_arn]
}

run "a_role_that_nobody_takes" {
  command = plan
  # Says: Nobody could take the role
  variables {
    trust = {}
  }
  expect_failures = [var.trust]
}

run "an_issuer_instead_of_its_provider" {
  command = plan
  # Says: not the issuer's URL
  variables {
    trust = {
      irsa = {
        oidc_provider_arn = "https://oidc.eks.eu-west-1.amazonaws.com/id/ABCDEF"
        namespace         = "events"
        service_account   = "fanbridge"
      }
    }
  }
  expect_failures = [var.trust]
}

run "every_service_account" {
  command = plan
  # Says: names of Kubernetes, without wildcards
  variables {
    trust = { pod_identity = { namespace = "events", service_account = "*" } }
  }
  expect_failures = [var.trust]
}

run "every_queue" {
  command = plan
  # Says: queue_arns are exact ARNs of queues
  variables {
    queue_arns = ["arn:aws:sqs:eu-west-1:123456789012:*"]
  }
  expect_failures = [var.queue_arns]
}

run "a_queues_url" {
  command = plan
  # Says: queue_arns are exact ARNs of queues
  variables {
    queue_arns = ["https://sqs.eu-west-1.amazonaws.com/123456789012/events"]
  }
  expect_failures = [var.queue_arns]
}

run "every_topic_to_be_confirmed" {
  command = plan
  # Says: confirm_topic_arns are exact ARNs of topics
  variables {
    confirm_topic_arns = ["*"]
  }
  expect_failures = [var.confirm_topic_arns]
}

run "every_topic_to_be_published_to" {
  command = plan
  # Says: publish_topic_arns are exact ARNs of topics
  variables {
    publish_topic_arns = ["arn:aws:sns:eu-west-1:123456789012:stream-*"]
  }
  expect_failures = [var.publish_topic_arns]
}

run "a_cluster_by_its_name" {
  command = plan
  # Says: msk[].cluster_arn is an ARN such as
  variables {
    msk = [{ cluster_arn = "events", topics = ["a"] }]
  }
  expect_failures = [var.msk]
}

run "a_cluster_without_topics" {
  command = plan
  # Says: msk[].topics are one or more names
  variables {
    msk = [{
      cluster_arn = "arn:aws:kafka:eu-west-1:123456789012:cluster/events/5d1c2f0a"
      topics      = []
    }]
  }
  expect_failures = [var.msk]
}

run "every_secret" {
  command = plan
  # Says: secret_arns are ARNs of secrets, without `*`
  variables {
    secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:*"]
  }
  expect_failures = [var.secret_arns]
}

run "every_parameter" {
  command = plan
  # Says: parameter_arns are exact ARNs
  variables {
    parameter_arns = ["arn:aws:ssm:eu-west-1:123456789012:parameter/fanbridge/*"]
  }
  expect_failures = [var.parameter_arns]
}

run "an_alias_as_a_queues_key" {
  command = plan
  # Says: an alias does not work in a policy
  variables {
    queue_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:alias/events"]
  }
  expect_failures = [var.queue_kms_key_arns]
}

run "an_alias_as_a_topics_key" {
  command = plan
  # Says: an alias does not work in a policy
  variables {
    topic_kms_key_arns = ["alias/events"]
  }
  expect_failures = [var.topic_kms_key_arns]
}

run "every_key_of_secrets" {
  command = plan
  # Says: an alias does not work in a policy
  variables {
    secret_kms_key_arns = ["*"]
  }
  expect_failures = [var.secret_kms_key_arns]
}
