variable "region" {
  description = "Region of the queue."
  type        = string
  default     = "eu-west-1"
  nullable    = false
}

variable "name" {
  description = "Name of the queue, and the beginning of the names of all else."
  type        = string
  default     = "fanbridge-stream"
  nullable    = false
}

variable "stream_account" {
  description = "Account from which Stream sends to the queue: the one that its documentation states."
  type        = string
  default     = "185583345998"
  nullable    = false
}

variable "kafka" {
  description = <<-EOT
    The cluster: its brokers (host:port), and how it is entered. `msk_cluster_arn`: Amazon MSK with IAM, and
    `sasl` is left out. `sasl`: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN, by names and passwords from the
    environment of Terraform and of the bridge. Neither: TLS alone.
  EOT
  type = object({
    brokers             = list(string)
    tls                 = optional(bool, true)
    sasl                = optional(string)
    msk_cluster_arn     = optional(string)
    partitions          = optional(number, 12)
    replication_factor  = optional(number, 3)
    min_insync_replicas = optional(number, 2)
  })
  nullable = false

  validation {
    condition = length(var.kafka.brokers) > 0 && alltrue([
      for broker in var.kafka.brokers : can(regex("^[^:/,[:space:]]+:[0-9]{1,5}$", broker))
    ])
    error_message = "kafka.brokers are one or more of host:port, without a scheme."
  }

  validation {
    condition = var.kafka.sasl == null || (
      var.kafka.msk_cluster_arn == null
      && try(contains(["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"], var.kafka.sasl), false)
    )
    error_message = "kafka.sasl is SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN, and left out with msk_cluster_arn."
  }

  validation {
    condition     = var.kafka.tls || (var.kafka.sasl == null && var.kafka.msk_cluster_arn == null)
    error_message = "Without TLS a password crosses the network in plain text: leave kafka.tls or sasl out."
  }
}

variable "producer" {
  description = "The bridge's principal, such as `User:fanbridge`, in a cluster with ACLs; `null` makes none."
  type        = string
  default     = null
}

variable "trust" {
  description = "Who takes the bridge's role: tasks of ECS, or as the module iam describes it."
  type = object({
    ecs = optional(object({}))
    ec2 = optional(object({}))
    irsa = optional(object({
      oidc_provider_arn = string
      namespace         = string
      service_account   = string
    }))
    pod_identity = optional(object({
      namespace       = string
      service_account = string
      cluster         = optional(string)
      cluster_arn     = optional(string)
    }))
  })
  default  = { ecs = {} }
  nullable = false
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
