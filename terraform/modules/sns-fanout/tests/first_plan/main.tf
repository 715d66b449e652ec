terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

# Everything that another resource would give is the output of one that is not there yet.
resource "terraform_data" "later" {
  for_each = toset(["key", "role", "queue", "function", "firehose", "page"])

  input = each.key
}

locals {
  later = { for name, resource in terraform_data.later : name => resource.output }
}

module "topics" {
  source = "../.."

  families            = { stream = [] }
  kms_key_id          = local.later.key
  publisher_role_arns = [local.later.role]
  delivery_status     = {}
  alarms              = { actions = [local.later.page] }
  subscriptions = {
    billing = { protocol = "sqs", endpoint = local.later.queue, topics = ["stream.video.session"] }
    search = {
      protocol      = "lambda"
      endpoint      = local.later.function
      filter_policy = jsonencode({ type = [local.later.queue] })
    }
    archive = { protocol = "firehose", endpoint = local.later.firehose, role_arn = local.later.role }
  }
}
