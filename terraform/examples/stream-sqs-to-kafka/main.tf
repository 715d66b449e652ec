# Stream's queue → the bridge → one Kafka topic for each family of events.

locals {
  has_iam = var.kafka.msk_cluster_arn != null
  # As the Kafka provider spells them; without a name and a password it uses none.
  mechanisms = {
    "PLAIN"         = "plain"
    "SCRAM-SHA-256" = "scram-sha256"
    "SCRAM-SHA-512" = "scram-sha512"
  }
  terraform_mechanism = local.has_iam ? "aws-iam" : local.mechanisms[coalesce(var.kafka.sasl, "PLAIN")]
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
