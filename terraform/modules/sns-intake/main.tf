# A topic that a provider publishes to, and its deliveries to the bridge: by HTTPS, or through queues.

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  suffix         = var.fifo ? ".fifo" : ""
  status         = var.delivery_status == null ? [] : [var.delivery_status]
  status_arn     = one(aws_iam_role.delivery_status[*].arn)
  status_percent = one(local.status[*].success_percent)
}

resource "aws_sns_topic" "this" {
  name = "${var.name}${local.suffix}"
  # SHA-256; the bridge refuses version 1, which is SHA-1.
  signature_version = 2
  kms_master_key_id = var.kms_key_arn

  fifo_topic                  = var.fifo
  content_based_deduplication = var.content_based_deduplication
  fifo_throughput_scope       = var.fifo ? "MessageGroup" : null

  http_success_feedback_role_arn    = local.status_arn
  http_failure_feedback_role_arn    = local.status_arn
  http_success_feedback_sample_rate = local.status_percent
  sqs_success_feedback_role_arn     = local.status_arn
  sqs_failure_feedback_role_arn     = local.status_arn
  sqs_success_feedback_sample_rate  = local.status_percent

  tags = var.tags
}

resource "aws_sns_topic_policy" "this" {
  arn    = aws_sns_topic.this.arn
  policy = data.aws_iam_policy_document.topic.json
}

# Always the whole notification with its signature: raw deliveries have none.
resource "aws_sns_topic_subscription" "endpoint" {
  count = var.endpoint == null ? 0 : 1

  topic_arn                       = aws_sns_topic.this.arn
  protocol                        = "https"
  endpoint                        = var.endpoint
  raw_message_delivery            = false
  endpoint_auto_confirms          = true
  confirmation_timeout_in_minutes = var.confirmation_minutes

  delivery_policy = jsonencode({
    healthyRetryPolicy = {
      numRetries         = var.retries.count
      minDelayTarget     = var.retries.min_delay_seconds
      maxDelayTarget     = var.retries.max_delay_seconds
      numNoDelayRetries  = 0
      numMinDelayRetries = 3
      numMaxDelayRetries = var.retries.count - 13
      backoffFunction    = "exponential"
    }
  })

  redrive_policy = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_letter.arn })

  # Before the queue lets SNS send, what SNS gives up would be gone.
  depends_on = [aws_sqs_queue_policy.dead_letter]
}

resource "aws_sns_topic_subscription" "queue" {
  for_each = var.queue_arns

  topic_arn            = aws_sns_topic.this.arn
  protocol             = "sqs"
  endpoint             = each.value
  raw_message_delivery = false
  redrive_policy       = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_letter.arn })

  depends_on = [aws_sqs_queue_policy.dead_letter]
}

resource "aws_sqs_queue" "dead_letter" {
  name                      = "${var.name}-dead${local.suffix}"
  message_retention_seconds = 1209600
  fifo_queue                = var.fifo

  sqs_managed_sse_enabled = var.kms_key_arn == null ? true : null
  kms_master_key_id       = var.kms_key_arn

  tags = var.tags
}

resource "aws_sqs_queue_policy" "dead_letter" {
  queue_url = aws_sqs_queue.dead_letter.url
  policy    = data.aws_iam_policy_document.dead_letter.json
}
