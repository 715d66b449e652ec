variable "region" {
  description = "Region of everything here."
  type        = string
  default     = "eu-west-1"
  nullable    = false
}

variable "name" {
  description = "Name of the service, and beginning of the names of all else."
  type        = string
  default     = "fanbridge"
  nullable    = false
}

variable "stream_account" {
  description = "Account from which Stream sends to queue and topic: the one that its documentation states."
  type        = string
  default     = "185583345998"
  nullable    = false
}

variable "image" {
  description = "The bridge's image, as REGISTRY/NAME:VERSION or with a digest. It has no default."
  type        = string
  nullable    = false
}

variable "cluster_arn" {
  description = "ECS cluster that runs the bridge."
  type        = string
  nullable    = false
}

variable "network" {
  description = <<-EOT
    Where it runs: the VPC with its addresses, in which Kafka and Redis are, too; private subnets for the
    tasks, public ones for the load balancer.
  EOT
  type = object({
    vpc_id             = string
    cidr               = string
    private_subnet_ids = list(string)
    public_subnet_ids  = list(string)
  })
  nullable = false
}

variable "certificate_arn" {
  description = "Certificate (ACM) of the host name that the provider delivers to."
  type        = string
  nullable    = false
}

variable "host_name" {
  description = "Host name of the certificate, to which providers and the SNS topic deliver."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]+([.][a-z0-9-]+)+$", var.host_name))
    error_message = "host_name is a name such as events.example.com, without https:// and without a path."
  }
}

variable "msk" {
  description = "The MSK cluster: its ARN, and its brokers for IAM (port 9098)."
  type = object({
    cluster_arn = string
    brokers     = list(string)
  })
  nullable = false
}

variable "secret_arns" {
  description = <<-EOT
    Secrets of Secrets Manager, which must be there. The bridge reads the first three itself, and again every
    minute: Stream's API secret, FastPix's signing secret, the secret of GitHub's webhook. A task is given the
    others when it starts: a random token of 32 characters or more for the admin listener, another one with
    which the sidecar reads its metrics, and the URL of the Redis or Valkey that the tasks share
    (`rediss://USER:PASSWORD@HOST:6379/0`).
  EOT
  type = object({
    stream_api_secret      = string
    fastpix_signing_secret = string
    github_webhook_secret  = string
    admin_token            = string
    metrics_token          = string
    redis_url              = string
  })
  nullable = false
}

variable "stream_topic_arns" {
  description = "Topics of other accounts that also deliver to the queue; the bridge confirms what they ask."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "collector_image" {
  description = "The sidecar that brings the bridge's metrics to CloudWatch (AWS Distro for OpenTelemetry)."
  type        = string
  default     = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3"
  nullable    = false
}

variable "subscribe_topic" {
  description = "Subscribe the bridge to its intake topic: once the host name leads to the load balancer."
  type        = bool
  default     = false
  nullable    = false
}

variable "alarm_actions" {
  description = "ARNs that are told when an alarm goes off and when it ends, such as a topic of your pager."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "tags" {
  description = "Tags of everything that this example makes."
  type        = map(string)
  default     = { application = "fanbridge" }
  nullable    = false
}
