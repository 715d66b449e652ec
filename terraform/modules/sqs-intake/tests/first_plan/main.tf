terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

# Everything that another resource would give is the output of one that is not there yet.
resource "terraform_data" "later" {
  for_each = toset(["key", "role", "topic", "page", "boundary"])

  input = each.key
}

locals {
  later = { for name, resource in terraform_data.later : name => resource.output }
}

module "queue" {
  source = "../.."

  name              = "events"
  kms_key_arn       = local.later.key
  sender_accounts   = ["111122223333"]
  sender_role_arns  = [local.later.role]
  source_topic_arns = [local.later.topic]
  alarms            = { actions = [local.later.page] }
  sender_role = {
    trusted_accounts         = ["111122223333"]
    permissions_boundary_arn = local.later.boundary
  }
}
