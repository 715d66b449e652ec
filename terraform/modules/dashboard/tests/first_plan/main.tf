terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

# Everything that another resource would give is the output of one that is not there yet.
resource "terraform_data" "later" {
  for_each = toset(["page"])

  input = each.key
}

locals {
  later = { for name, resource in terraform_data.later : name => resource.output }
}

module "dashboard" {
  source = "../.."

  name    = "events"
  bridge  = "fanbridge"
  queues  = ["events"]
  actions = { critical = [local.later.page], warning = [local.later.page] }
}
