# FastPix's webhook → a load balancer with TLS → the bridge on Fargate → one SNS topic for each family.

module "topics" {
  source = "../../modules/sns-fanout"

  name     = var.name
  families = { fastpix = keys(var.events) }
  alarms   = { actions = var.alarm_actions }
}

module "identity" {
  source = "../../modules/iam"

  name               = "${var.name}-task"
  trust              = { ecs = {} }
  publish_topic_arns = values(module.topics.topic_arns)
}

module "bridge" {
  source = "../../modules/ecs-service"

  name          = var.name
  cluster_arn   = var.cluster_arn
  image         = var.image
  configuration = local.configuration
  task_role_arn = module.identity.role_arn

  # FastPix signs with one secret for each endpoint; a task reads it when it starts.
  secrets = {
    FASTPIX_SECRET        = var.signing_secret_arn
    FANBRIDGE_ADMIN_TOKEN = var.admin_token_arn
  }

  vpc_id     = var.network.vpc_id
  subnet_ids = var.network.private_subnet_ids
  # SNS and the image's registry; there is no Kafka here.
  egress = {
    https = { from_port = 443, to_port = 443, cidr_ipv4 = "0.0.0.0/0" }
  }
  load_balancer = {
    certificate_arn = var.certificate_arn
    subnet_ids      = var.network.public_subnet_ids
  }
  autoscaling = { min = 2, max = 6 }
}

locals {
  configuration = templatefile("${path.module}/fanbridge.yaml.tftpl", {
    region         = var.region
    topic_template = module.topics.topic_template
    types          = flatten([for types in values(var.events) : sort(types)])
  })
}
