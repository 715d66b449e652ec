variable "name" {
  description = "Name of the dashboard, and beginning of the alarms' names."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,100}$", var.name))
    error_message = "The name has 1 to 100 letters, digits, `-` and `_`."
  }
}

variable "bridge" {
  description = <<-EOT
    Value of the dimension `bridge` of the metrics: the name of the service (module ecs-service).
  EOT
  type        = string
  nullable    = false
}

variable "namespace" {
  description = "CloudWatch namespace of the metrics: `metrics_namespace` of the module ecs-service."
  type        = string
  default     = "fanbridge"
  nullable    = false

  validation {
    condition = (
      can(regex("^[A-Za-z0-9._/#:-]{1,255}$", var.namespace)) && !startswith(var.namespace, "AWS/")
    )
    error_message = <<-EOT
      A namespace has letters, digits and ._/#:- and does not begin with AWS/, which is AWS's own.
    EOT
  }
}

variable "ecs_cluster" {
  description = <<-EOT
    Name of the ECS cluster of the service `bridge`, with Container Insights on: `cluster_name` of the module
    ecs-service. `null` leaves the alarm FanbridgeReplicaAbsent out.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.ecs_cluster == null || can(regex("^[A-Za-z0-9_-]{1,255}$", var.ecs_cluster))
    error_message = "ecs_cluster is the name of a cluster, not its ARN: letters, digits, `-` and `_`."
  }
}

variable "period_seconds" {
  description = "Period of alarms and graphs; no shorter than the sidecar's interval."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = contains([60, 300], var.period_seconds)
    error_message = "period_seconds is 60 or 300."
  }
}

variable "queues" {
  description = <<-EOT
    Names of the queues that the bridge reads, to be shown: `queue_name` of the module sqs-intake.
  EOT
  type        = set(string)
  default     = []
  nullable    = false
}

variable "runbook_url" {
  description = "Where your copy of docs/OPERATING.md is found; alarms name their part of it."
  type        = string
  default     = "docs/OPERATING.md"
  nullable    = false
}

variable "actions" {
  description = <<-EOT
    Who is told of alarms, by severity (`critical`, `warning`): ARNs of topics and other actions.
  EOT
  type = object({
    critical = optional(set(string), [])
    warning  = optional(set(string), [])
  })
  default  = {}
  nullable = false
}

variable "disabled_alarms" {
  description = "Alarms that are not made, by name: `FanbridgeProviderSilent` for a source that often rests."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition = length(setsubtract(var.disabled_alarms, keys(local.alarms))) == 0
    error_message = format(
      "disabled_alarms names alarms that there are not: %s. There are: %s.",
      join(", ", setsubtract(var.disabled_alarms, keys(local.alarms))), join(", ", keys(local.alarms))
    )
  }
}

variable "tags" {
  description = "Tags of the alarms."
  type        = map(string)
  default     = {}
  nullable    = false
}
