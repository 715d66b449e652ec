terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

# Everything that another resource would give is the output of one that is not there yet.
resource "terraform_data" "later" {
  for_each = toset([
    "cluster", "image", "role", "vpc", "subnet", "other", "queue", "secret", "key", "certificate", "bucket",
    "acl", "group", "boundary", "files", "point", "alarm", "cidr",
  ])

  input = each.key
}

locals {
  later = { for name, resource in terraform_data.later : name => resource.output }
}

locals {
  configuration = <<-YAML
    http: { listen: 0.0.0.0:8080 }
    admin:
      listen: 0.0.0.0:9090
      token: env:FANBRIDGE_ADMIN_TOKEN
      metrics_token: env:FANBRIDGE_METRICS_TOKEN
    spool: { dir: /var/lib/fanbridge/spool }
    ack: { after: [lake] }
    sources:
      stream: { provider: stream, sqs: { queue_url: "${local.later.queue}" } }
    sinks:
      lake: { kafka: { brokers: env:KAFKA_BROKERS } }
  YAML

  secrets = { FANBRIDGE_ADMIN_TOKEN = local.later.secret, FANBRIDGE_METRICS_TOKEN = local.later.other }
}

module "alb" {
  source = "../.."

  name                     = "behind-an-alb"
  cluster_arn              = local.later.cluster
  image                    = local.later.image
  configuration            = local.configuration
  task_role_arn            = local.later.role
  permissions_boundary_arn = local.later.boundary
  registry_secret_arn      = local.later.secret
  secrets                  = local.secrets
  secret_kms_key_arns      = [local.later.key]
  environment              = { KAFKA_BROKERS = local.later.queue }
  log_kms_key_arn          = local.later.key

  vpc_id                   = local.later.vpc
  subnet_ids               = [local.later.subnet, local.later.other]
  admin_security_group_ids = { prometheus = local.later.group }
  egress                   = { all = { from_port = 443, to_port = 443, cidr_ipv4 = local.later.cidr } }
  load_balancer = {
    certificate_arn   = local.later.certificate
    subnet_ids        = [local.later.subnet, local.later.other]
    access_log_bucket = local.later.bucket
    web_acl           = { arn = local.later.acl }
  }
  storage         = { kind = "ebs", kms_key_arn = local.later.key }
  autoscaling     = { min = 2, max = 4, oldest_pending_seconds = 60 }
  metrics         = { image = local.later.image }
  rollback_alarms = [local.later.alarm]
}

module "nlb" {
  source = "../.."

  name          = "behind-an-nlb"
  cluster_arn   = local.later.cluster
  image         = local.later.image
  configuration = local.configuration
  task_role_arn = local.later.role
  desired_count = 1
  secrets       = local.secrets
  environment   = { KAFKA_BROKERS = "b-1.example.com:9098" }
  vpc_id        = local.later.vpc
  subnet_ids    = [local.later.subnet, local.later.other]
  load_balancer = {
    kind            = "nlb"
    certificate_arn = local.later.certificate
    subnet_ids      = [local.later.subnet, local.later.other]
  }
  storage = {
    kind              = "efs"
    file_system_id    = local.later.files
    access_point_id   = local.later.point
    file_system_sg_id = local.later.group
  }
}
