# Everything at once. Stream by webhook, by queue and by topic, FastPix and GitHub by webhook → the bridge on
# Fargate, two tasks or more → every event to Kafka (MSK with IAM), and to SNS what billing and people want.

locals {
  # Families by sink, for the selections in fanbridge.yaml.tftpl. Each listed type could come from any
  # provider, and is `unclassified` there if the provider's catalogue lacks it; `fanbridge topics plan` lists
  # the topics.
  billing_families = {
    stream  = ["video.session", "unclassified"]
    fastpix = ["media", "unclassified"]
    github  = ["unclassified"]
  }
  # All of them share one topic.
  alert_families = { stream = ["video.recording"], fastpix = ["media"] }

  configuration = templatefile("${path.module}/fanbridge.yaml.tftpl", {
    region           = var.region
    queue_url        = module.queue.queue_url
    intake_topic_arn = module.intake_topic.topic_arn
    confirm_topics   = var.stream_topic_arns
    secrets          = var.secret_arns
    brokers          = var.msk.brokers
    lake_topic       = module.lake_topics.topic_template
    billing_topic    = module.billing_topics.topic_template
    alert_topic      = module.alert_topic.topic_template
  })
}

module "queue" {
  source = "../../modules/sqs-intake"

  name              = "${var.name}-stream"
  sender_accounts   = [var.stream_account]
  source_topic_arns = var.stream_topic_arns
  alarms            = { actions = var.alarm_actions }
}

module "intake_topic" {
  source = "../../modules/sns-intake"

  name               = "${var.name}-stream-intake"
  publisher_accounts = [var.stream_account]
  endpoint           = var.subscribe_topic ? "https://${var.host_name}/in/stream-topic" : null
  alarms             = { actions = var.alarm_actions }
}

module "lake_topics" {
  source = "../../modules/kafka-topics"

  families = { stream = [], fastpix = [], github = [] }
  overrides = {
    # Most of what Stream's chat sends: more consumers at once, and no week of history.
    "stream.chat.message" = { partitions = 48, retention_hours = 72 }
  }
}

module "billing_topics" {
  source = "../../modules/sns-fanout"

  name           = "${var.name}-billing"
  families       = local.billing_families
  topic_template = "billing-{provider}-{family}"
  # In order within a call, and no event twice within five minutes.
  fifo              = true
  fifo_archive_days = 30
  alarms            = { actions = var.alarm_actions }
}

module "alert_topic" {
  source = "../../modules/sns-fanout"

  name           = "${var.name}-alerts"
  families       = local.alert_families
  topic_template = "${var.name}-alerts"
  alarms         = { actions = var.alarm_actions }
}

module "identity" {
  source = "../../modules/iam"

  name               = "${var.name}-task"
  trust              = { ecs = {} }
  queue_arns         = [module.queue.queue_arn]
  confirm_topic_arns = concat([module.intake_topic.topic_arn], tolist(var.stream_topic_arns))
  publish_topic_arns = concat(
    values(module.billing_topics.topic_arns), values(module.alert_topic.topic_arns)
  )
  msk = [{
    cluster_arn = var.msk.cluster_arn
    topics      = values(module.lake_topics.topics)
  }]
  # What the bridge reads itself, and again every minute; the rest is given to the task when it starts.
  secret_arns = [
    var.secret_arns.stream_api_secret,
    var.secret_arns.fastpix_signing_secret,
    var.secret_arns.github_webhook_secret,
  ]
}

module "bridge" {
  source = "../../modules/ecs-service"

  name          = var.name
  cluster_arn   = var.cluster_arn
  image         = var.image
  configuration = local.configuration
  task_role_arn = module.identity.role_arn
  secrets = {
    FANBRIDGE_ADMIN_TOKEN   = var.secret_arns.admin_token
    FANBRIDGE_METRICS_TOKEN = var.secret_arns.metrics_token
    REDIS_URL               = var.secret_arns.redis_url
  }

  vpc_id     = var.network.vpc_id
  subnet_ids = var.network.private_subnet_ids
  egress = {
    https = { from_port = 443, to_port = 443, cidr_ipv4 = "0.0.0.0/0" }
    kafka = { from_port = 9098, to_port = 9098, cidr_ipv4 = var.network.cidr }
    redis = { from_port = 6379, to_port = 6379, cidr_ipv4 = var.network.cidr }
  }
  load_balancer = {
    certificate_arn = var.certificate_arn
    subnet_ids      = var.network.public_subnet_ids
  }
  # The disk of a task ends with it. Nobody waits for alerts: what that sink misses may be lost.
  storage     = { may_lose_sinks = ["alerts"] }
  autoscaling = { min = 2, max = 8, oldest_pending_seconds = 120 }
  metrics     = { image = var.collector_image }
}

module "dashboard" {
  source = "../../modules/dashboard"

  name        = var.name
  bridge      = module.bridge.service_name
  ecs_cluster = module.bridge.cluster_name
  namespace   = module.bridge.metrics_namespace
  queues      = [module.queue.queue_name]
  actions     = { critical = var.alarm_actions, warning = var.alarm_actions }
}
