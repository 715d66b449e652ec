variable "desired_count" {
  description = "How many tasks there are; with `autoscaling` its `min` and `max` say that."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.desired_count >= 1 && floor(var.desired_count) == var.desired_count
    error_message = "desired_count is a whole number, at least 1."
  }
}

variable "autoscaling" {
  description = <<-EOT
    Number of tasks by load: their CPU, and with `oldest_pending_seconds` the age of the oldest event that a
    sink has not got (needs `metrics`). More tasks do not help a sink that is down, and take over no backlog.
  EOT
  type = object({
    min                    = number
    max                    = number
    cpu_percent            = optional(number, 60)
    oldest_pending_seconds = optional(number)
  })
  default = null

  validation {
    condition = var.autoscaling == null || try(
      var.autoscaling.min >= 1 && var.autoscaling.max >= var.autoscaling.min, false
    )
    error_message = "autoscaling.min is at least 1, and autoscaling.max no less than it."
  }

  validation {
    condition = var.autoscaling == null || try(
      var.autoscaling.cpu_percent >= 20 && var.autoscaling.cpu_percent <= 90, false
    )
    error_message = "autoscaling.cpu_percent is between 20 and 90."
  }

  validation {
    condition     = try(var.autoscaling.oldest_pending_seconds, null) == null || var.metrics != null
    error_message = <<-EOT
      autoscaling.oldest_pending_seconds needs `metrics`: the sidecar brings that number to CloudWatch.
    EOT
  }
}

variable "load_balancer" {
  description = <<-EOT
    How providers reach the bridge, with TLS. `alb`: an Application Load Balancer that lets only /in/ through.
    `nlb`: a Network Load Balancer, which keeps clients' addresses. `null` makes none: for queues only.
  EOT
  type = object({
    kind                 = optional(string, "alb")
    certificate_arn      = string
    subnet_ids           = list(string)
    internal             = optional(bool, false)
    ingress_cidr_ipv4    = optional(set(string), ["0.0.0.0/0"])
    ssl_policy           = optional(string, "ELBSecurityPolicy-TLS13-1-2-2021-06")
    web_acl              = optional(object({ arn = string }))
    access_log_bucket    = optional(string)
    deletion_protection  = optional(bool, true)
    deregistration_delay = optional(number, 30)
  })
  default = null

  validation {
    condition     = var.load_balancer == null || try(contains(["alb", "nlb"], var.load_balancer.kind), false)
    error_message = "load_balancer.kind is alb or nlb."
  }

  validation {
    condition = var.load_balancer == null || can(regex(
      "^arn:aws[a-z-]*:(acm|iam):", var.load_balancer.certificate_arn
    ))
    error_message = <<-EOT
      load_balancer.certificate_arn is the ARN of a certificate: providers deliver by HTTPS only.
    EOT
  }

  validation {
    condition = (
      var.load_balancer == null || try(length(distinct(var.load_balancer.subnet_ids)) >= 2, false)
    )
    error_message = "load_balancer.subnet_ids has two or more subnets."
  }

  validation {
    condition = (
      try(var.load_balancer.web_acl, null) == null || try(var.load_balancer.kind == "alb", false)
    )
    error_message = "Only an alb can have a web_acl."
  }

  validation {
    condition = var.load_balancer == null || try(
      var.load_balancer.deregistration_delay >= 5 && var.load_balancer.deregistration_delay <= 300, false
    )
    error_message = "load_balancer.deregistration_delay is between 5 and 300 seconds."
  }
}

variable "stop_timeout" {
  description = "Seconds from SIGTERM to SIGKILL: `shutdown_grace_seconds` and 15 more, at most 120."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.stop_timeout >= 45 && var.stop_timeout <= 120
    error_message = "stop_timeout is between 45 and 120 seconds."
  }
}

variable "rollback_alarms" {
  description = <<-EOT
    CloudWatch alarms, by name, that end a deployment and bring the former version back when they go off in
    it: `NAME-FanbridgeRefuses` of the module dashboard. They have to be there, so name them once they are.
  EOT
  type        = set(string)
  default     = []
  nullable    = false
}

variable "metrics" {
  description = <<-EOT
    A sidecar (AWS Distro for OpenTelemetry) that scrapes the bridge and writes its metrics to CloudWatch, for
    the module dashboard and for `autoscaling.oldest_pending_seconds`. It needs the metrics token, with which
    it reads `/metrics` and nothing else: a variable in `secrets` (`token_variable`), and in the configuration
    `admin: { metrics_token: env:NAME }` with that name. `null` runs none. Each series costs what CloudWatch
    takes for a custom metric.
  EOT
  type = object({
    image            = string
    namespace        = optional(string, "fanbridge")
    interval_seconds = optional(number, 60)
    token_variable   = optional(string, "FANBRIDGE_METRICS_TOKEN")
  })
  default = null

  validation {
    condition = var.metrics == null || try(
      can(regex("/[^/]+[:@]", var.metrics.image)) && !endswith(var.metrics.image, ":latest"), false
    )
    error_message = <<-EOT
      metrics.image has a version or a digest, such as
      public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3.
    EOT
  }

  validation {
    condition     = var.metrics == null || try(contains(keys(var.secrets), var.metrics.token_variable), false)
    error_message = <<-EOT
      metrics needs the metrics token: a variable of `secrets` named like metrics.token_variable.
    EOT
  }

  validation {
    condition = var.metrics == null || try(
      var.metrics.interval_seconds >= 10 && var.metrics.interval_seconds <= 300, false
    )
    error_message = "metrics.interval_seconds is between 10 and 300."
  }
}

variable "configuration_image" {
  description = <<-EOT
    Image with `/bin/sh` of the container that, before the bridge starts, writes the configuration and gives
    the spool's directory to the bridge's user. It ends before the bridge begins.
  EOT
  type        = string
  default     = "public.ecr.aws/docker/library/busybox:1.37"
  nullable    = false

  validation {
    condition = (
      can(regex("/[^/]+[:@]", var.configuration_image)) && !endswith(var.configuration_image, ":latest")
    )
    error_message = "configuration_image has a version or a digest."
  }
}

variable "log_retention_days" {
  description = "How long CloudWatch Logs keeps the bridge's log."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition = contains([
      1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
    ], var.log_retention_days)
    error_message = <<-EOT
      log_retention_days is one of the periods that CloudWatch Logs has: 1, 3, 5, 7, 14, 30, 60, 90, …
    EOT
  }
}

variable "log_kms_key_arn" {
  description = "Key that encrypts the log group; without it CloudWatch Logs uses its own."
  type        = string
  default     = null
}

variable "execute_command" {
  description = "Allow `aws ecs execute-command`. It makes the container's root file system writable."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "Tags of everything that the module makes, tasks and volumes included."
  type        = map(string)
  default     = {}
  nullable    = false
}
