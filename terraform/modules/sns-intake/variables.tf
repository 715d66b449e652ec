variable "name" {
  description = "Name of the topic, without `.fifo`; the dead-letter queue gets `-dead` behind it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,70}$", var.name))
    error_message = "The name has 1 to 70 letters, digits, `-` and `_`; `.fifo` is appended by `fifo = true`."
  }
}

variable "fifo" {
  description = "Make the topic FIFO. A FIFO topic delivers to queues only: name them in `queue_arns`."
  type        = bool
  default     = false
  nullable    = false
}

variable "content_based_deduplication" {
  description = <<-EOT
    FIFO only: SNS takes the SHA-256 of a body as its deduplication id if the sender states none.
  EOT
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = var.fifo || !var.content_based_deduplication
    error_message = <<-EOT
      Only FIFO topics deduplicate: set `fifo = true`, or leave content_based_deduplication out.
    EOT
  }
}

variable "endpoint" {
  description = <<-EOT
    URL at which the bridge takes the topic's messages: `https://HOST/in/SOURCE`. Set it once the bridge runs
    there with this topic in `sns.topics`: it confirms the subscription itself. `null` subscribes nothing.
  EOT
  type        = string
  default     = null

  validation {
    condition = var.endpoint == null || can(regex(
      "^https://[a-z0-9.-]+(:[0-9]+)?/in/[a-z0-9-]{1,63}$", var.endpoint
    ))
    error_message = <<-EOT
      The endpoint is https://HOST/in/SOURCE, without a password: with one, deliveries are not signed, and it
      would stand in Terraform's state.
    EOT
  }

  validation {
    condition     = var.endpoint == null || !var.fifo
    error_message = <<-EOT
      A FIFO topic cannot deliver to a URL: subscribe a FIFO queue (queue_arns), which the bridge reads.
    EOT
  }
}

variable "queue_arns" {
  description = "Queues to subscribe, by a name of your choice: `queue_arn` of the module sqs-intake."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for arn in values(var.queue_arns) :
      can(regex("^arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,80}([.]fifo)?$", arn))
    ])
    error_message = "queue_arns are ARNs of queues, such as arn:aws:sqs:eu-west-1:123456789012:events."
  }

  validation {
    condition     = var.fifo || alltrue([for arn in values(var.queue_arns) : !endswith(arn, ".fifo")])
    error_message = <<-EOT
      Only a FIFO topic delivers to a FIFO queue: set `fifo = true`, or subscribe a standard queue.
    EOT
  }
}

variable "confirmation_minutes" {
  description = "How long an apply waits until the bridge has confirmed the subscription of `endpoint`."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.confirmation_minutes >= 1 && var.confirmation_minutes <= 60
    error_message = "confirmation_minutes is between 1 and 60."
  }
}

variable "retries" {
  description = <<-EOT
    How SNS repeats a delivery to `endpoint` that was not answered 2xx, before it goes to the dead-letter
    queue: thrice after `min_delay_seconds`, then after ever longer delays up to `max_delay_seconds`. SNS
    gives up after an hour in any case.
  EOT
  type = object({
    count             = optional(number, 60)
    min_delay_seconds = optional(number, 1)
    max_delay_seconds = optional(number, 60)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.retries.count >= 13 && var.retries.count <= 100
    error_message = "retries.count is between 13 and 100."
  }

  validation {
    condition = (
      var.retries.min_delay_seconds >= 1 && var.retries.min_delay_seconds <= var.retries.max_delay_seconds
      && var.retries.count * var.retries.max_delay_seconds <= 3600
    )
    error_message = <<-EOT
      retries.min_delay_seconds is at least 1 and at most max_delay_seconds, and count times max_delay_seconds
      at most 3600: SNS keeps a message for no longer than an hour.
    EOT
  }
}

variable "publisher_accounts" {
  description = "Accounts that may publish to the topic, by number: the provider's."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.publisher_accounts : can(regex("^[0-9]{12}$", account))])
    error_message = "publisher_accounts are account numbers of twelve digits; `*` would let anybody publish."
  }
}

variable "publisher_role_arns" {
  description = "Roles that may publish to the topic, by ARN."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.publisher_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[^*]+$", arn))
    ])
    error_message = "publisher_role_arns are ARNs of roles, such as arn:aws:iam::123456789012:role/sender."
  }
}

variable "publisher_role" {
  description = <<-EOT
    A role for the provider to assume (Stream: `sns_role_arn`), instead of or beside a right in the topic's
    policy: who may assume it, and the external id that they have to state, if they can.
  EOT
  type = object({
    trusted_accounts         = set(string)
    external_id              = optional(string)
    permissions_boundary_arn = optional(string)
  })
  default = null

  validation {
    condition = try(length(var.publisher_role.trusted_accounts) > 0 && alltrue([
      for account in var.publisher_role.trusted_accounts : can(regex("^[0-9]{12}$", account))
    ]), var.publisher_role == null)
    error_message = "publisher_role.trusted_accounts are one or more account numbers of twelve digits."
  }

  validation {
    condition     = var.publisher_role == null || length(var.name) <= 54
    error_message = <<-EOT
      The role is named NAME-publisher, and a role's name has 64 characters at most: with publisher_role the
      name has up to 54.
    EOT
  }
}

variable "kms_key_arn" {
  description = <<-EOT
    Key of yours that encrypts the topic and its dead-letter queue. Its policy has to let the provider use
    it: see the output `kms_key_policy_json`. Without it SNS uses the encryption of its disks, and SSE-SQS.
  EOT
  type        = string
  default     = null

  validation {
    condition = (
      var.kms_key_arn == null
      || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    )
    error_message = <<-EOT
      kms_key_arn is the ARN of a key of yours (arn:aws:kms:REGION:ACCOUNT:key/ID). An alias of AWS's own key
      does not do: other accounts cannot use it.
    EOT
  }
}

variable "delivery_status" {
  description = <<-EOT
    Log what became of deliveries, in CloudWatch Logs: failures all, successes by this percentage. `null`
    logs nothing.
  EOT
  type = object({
    success_percent          = optional(number, 0)
    permissions_boundary_arn = optional(string)
  })
  default = null

  validation {
    condition = var.delivery_status == null || try(
      var.delivery_status.success_percent >= 0 && var.delivery_status.success_percent <= 100, false
    )
    error_message = "delivery_status.success_percent is between 0 and 100."
  }

  validation {
    condition     = var.delivery_status == null || length(var.name) <= 48
    error_message = <<-EOT
      The role is named NAME-delivery-status, and a role's name has 64 characters at most: with
      delivery_status the name has up to 48.
    EOT
  }
}

variable "alarms" {
  description = <<-EOT
    Alarms on deliveries that failed, and on anything in the dead-letter queue; `null` makes none. `actions`
    are the ARNs that are told.
  EOT
  type = object({
    actions = optional(set(string), [])
  })
  default = {}
}

variable "tags" {
  description = "Tags of everything that the module makes."
  type        = map(string)
  default     = {}
  nullable    = false
}
