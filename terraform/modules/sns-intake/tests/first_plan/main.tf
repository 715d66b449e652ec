terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

# Everything that another resource would give is the output of one that is not there yet.
resource "terraform_data" "later" {
  for_each = toset(["key", "role", "queue", "page", "boundary"])

  input = each.key
}

locals {
  later = { for name, resource in terraform_data.later : name => resource.output }
}

module "topic" {
  source = "../.."

  name                = "events"
  kms_key_arn         = local.later.key
  publisher_role_arns = [local.later.role]
  queue_arns          = { bridge = local.later.queue }
  alarms              = { actions = [local.later.page] }
  delivery_status     = { permissions_boundary_arn = local.later.boundary }
}
