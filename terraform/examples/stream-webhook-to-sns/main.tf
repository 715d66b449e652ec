# Stream's webhook → the bridge → one SNS topic for each family of events → a consumer's queue.

locals {
  consumer = "${var.name}-recordings${var.fifo ? ".fifo" : ""}"
}

module "topics" {
  source = "../../modules/sns-fanout"

  name = var.name
  fifo = var.fifo
  # Every family that Stream's types have, and the one of types that come tomorrow.
  families = { stream = [] }
  alarms   = { actions = var.alarm_actions }

  subscriptions = {
    recordings = {
      protocol = "sqs"
      endpoint = aws_sqs_queue.consumer.arn
      topics   = [for family in var.consumer_families : "stream.${family}"]
      # Without the envelope of SNS: a message of the queue is the CloudEvent itself.
      raw_message_delivery = true
      filter_policy        = length(var.consumer_types) > 0 ? jsonencode({ type = var.consumer_types }) : null
    }
  }
}

# The consumer's own queue. In a company with many consumers this part is theirs, in their account.
resource "aws_sqs_queue" "consumer" {
  name                       = local.consumer
  fifo_queue                 = var.fifo
  sqs_managed_sse_enabled    = true
  visibility_timeout_seconds = 60
  message_retention_seconds  = 345600
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.consumer_dead.arn
    maxReceiveCount     = 5
  })
}

resource "aws_sqs_queue" "consumer_dead" {
  name                      = "${var.name}-recordings-dead${var.fifo ? ".fifo" : ""}"
  fifo_queue                = var.fifo
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 1209600
}

resource "aws_sqs_queue_policy" "consumer" {
  queue_url = aws_sqs_queue.consumer.id
  policy    = module.topics.queue_policies_json["recordings"]
}

module "identity" {
  source = "../../modules/iam"

  name               = "${var.name}-bridge"
  trust              = var.trust
  publish_topic_arns = values(module.topics.topic_arns)
  topic_kms_key_arns = compact([module.topics.kms_key_arn])
}
