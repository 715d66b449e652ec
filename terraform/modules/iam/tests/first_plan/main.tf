terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

# Everything that another resource would give is the output of one that is not there yet.
resource "terraform_data" "later" {
  for_each = toset([
    "queue", "topic", "cluster", "secret", "parameter", "key", "boundary", "provider", "policy",
  ])

  input = each.key
}

locals {
  later = { for name, resource in terraform_data.later : name => resource.output }
}

module "role" {
  source = "../.."

  name = "fanbridge"
  trust = {
    ecs  = {}
    ec2  = {}
    irsa = { oidc_provider_arn = local.later.provider, namespace = "events", service_account = "fanbridge" }
    pod_identity = {
      namespace   = "events", service_account = "fanbridge", cluster = "events"
      cluster_arn = local.later.cluster
    }
  }
  permissions_boundary_arn = local.later.boundary
  queue_arns               = [local.later.queue]
  confirm_topic_arns       = [local.later.topic]
  publish_topic_arns       = [local.later.topic]
  msk                      = [{ cluster_arn = local.later.cluster, topics = ["stream.chat.message"] }]
  secret_arns              = [local.later.secret]
  parameter_arns           = [local.later.parameter]
  queue_kms_key_arns       = [local.later.key]
  topic_kms_key_arns       = [local.later.key]
  secret_kms_key_arns      = [local.later.key]
  allow_doctor             = true
  additional_policy_arns   = { sidecar = local.later.policy }
}
