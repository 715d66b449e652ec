# Stream's queue → the bridge → one Kafka topic for each family of events.

locals {
  has_iam             = var.kafka.msk_cluster_arn != null
  terraform_mechanism = local.has_iam ? "aws-iam" : lower(replace(coalesce(var.kafka.sasl, "PLAIN"), "-SHA-", "-sha"))
}

module "intake" {
  source = "../../modules/sqs-intake"

  name            = var.name
  sender_accounts = [var.stream_account]
  alarms          = { actions = var.alarm_actions }
}

module "topics" {
  source = "../../modules/kafka-topics"

  # Every family that Stream's types have, and the one of types that come tomorrow.
  families            = { stream = [] }
  partitions          = var.kafka.partitions
  replication_factor  = var.kafka.replication_factor
  min_insync_replicas = var.kafka.min_insync_replicas
  producer            = var.producer
}

module "identity" {
  source = "../../modules/iam"

  name       = "${var.name}-bridge"
  trust      = var.trust
  queue_arns = [module.intake.queue_arn]
  msk = local.has_iam ? [{
    cluster_arn = var.kafka.msk_cluster_arn
    topics      = values(module.topics.topics)
  }] : []
}
