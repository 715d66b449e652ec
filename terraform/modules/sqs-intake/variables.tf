variable "name" {
  description = "Name of the queue, without `.fifo`; the dead-letter queue gets `-dead` behind it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,70}$", var.name))
    error_message = "The name has 1 to 70 letters, digits, `-` and `_`; `.fifo` is appended by `fifo = true`."
  }
}

variable "fifo" {
  description = <<-EOT
    Make the queue and its dead-letter queue FIFO. Stream itself can only send to a standard queue.
  EOT
  type        = bool
  default     = false
  nullable    = false
}

variable "content_based_deduplication" {
  description = <<-EOT
    FIFO only: SQS takes the SHA-256 of a body as its deduplication id if the sender states none.
  EOT
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = var.fifo || !var.content_based_deduplication
    error_message = <<-EOT
      Only FIFO queues deduplicate: set `fifo = true`, or leave content_based_deduplication out.
    EOT
  }
}

variable "visibility_timeout_seconds" {
  description = <<-EOT
    How long a received message is hidden. The bridge states its own (`visibility_timeout`, 60 s).
  EOT
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition = (
      var.visibility_timeout_seconds >= 30 && var.visibility_timeout_seconds <= 43200
    )
    error_message = "The visibility timeout is between 30 and 43200 seconds."
  }
}

variable "message_retention_seconds" {
  description = "How long the queue keeps a message: the longest outage of the bridge that loses nothing."
  type        = number
  default     = 345600
  nullable    = false

  validation {
    condition = (
      var.message_retention_seconds >= 3600 && var.message_retention_seconds < 1209600
    )
    error_message = <<-EOT
      The retention is between 3600 and 1209599 seconds: less than the 14 days that SQS allows at most, so
      that the dead-letter queue can keep a message for longer.
    EOT
  }
}

variable "dead_letter_retention_seconds" {
  description = <<-EOT
    How long the dead-letter queue keeps a message. In a standard queue that counts from the moment at which
    the message was first sent, so it has to be longer than `message_retention_seconds`.
  EOT
  type        = number
  default     = 1209600
  nullable    = false

  validation {
    condition = (
      var.dead_letter_retention_seconds > var.message_retention_seconds
      && var.dead_letter_retention_seconds <= 1209600
    )
    error_message = <<-EOT
      The dead-letter queue has to keep messages for longer than the queue (message_retention_seconds), and
      for at most 1209600 seconds (14 days); else a message expires as soon as it is moved.
    EOT
  }
}

variable "max_receive_count" {
  description = <<-EOT
    How often a message is received before it is moved to the dead-letter queue. With `ack.after` a message
    comes back once per visibility timeout for as long as the sink is away: 300 times 60 s are five hours.
  EOT
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition = (
      var.max_receive_count >= 3 && var.max_receive_count <= 1000
      && floor(var.max_receive_count) == var.max_receive_count
    )
    error_message = "max_receive_count is a whole number between 3 and 1000."
  }
}

variable "message_bytes_max" {
  description = "Largest message. Stream drops what is larger than 256 KiB; less than that would lose events."
  type        = number
  default     = 262144
  nullable    = false

  validation {
    condition     = var.message_bytes_max >= 262144 && var.message_bytes_max <= 1048576
    error_message = "The largest message is between 262144 bytes (256 KiB) and 1048576 bytes (1 MiB)."
  }
}

variable "kms_key_arn" {
  description = <<-EOT
    Key that encrypts both queues; without it SQS uses its own keys (SSE-SQS). The key's policy has to let
    the senders and the bridge use it: see the output `kms_key_policy_json`.
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
      does not do: other accounts and SNS cannot use it.
    EOT
  }
}

variable "kms_data_key_reuse_seconds" {
  description = "How long SQS uses one data key again before it asks KMS for another."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.kms_data_key_reuse_seconds >= 60 && var.kms_data_key_reuse_seconds <= 86400
    error_message = "kms_data_key_reuse_seconds is between 60 and 86400."
  }
}

variable "sender_accounts" {
  description = <<-EOT
    Accounts that may send to the queue, by number: the provider's. Nothing in a queue is signed.
  EOT
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.sender_accounts : can(regex("^[0-9]{12}$", account))])
    error_message = "sender_accounts are account numbers of twelve digits; `*` would let anybody send."
  }
}

variable "sender_role_arns" {
  description = "Roles that may send to the queue, by ARN."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.sender_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[^*]+$", arn))
    ])
    error_message = "sender_role_arns are ARNs of roles, such as arn:aws:iam::123456789012:role/sender."
  }
}

variable "source_topic_arns" {
  description = "SNS topics whose messages the queue takes, by ARN; subscribe the queue to them as well."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.source_topic_arns :
      can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}([.]fifo)?$", arn))
    ])
    error_message = <<-EOT
      source_topic_arns are ARNs of SNS topics, such as arn:aws:sns:eu-west-1:123456789012:events.
    EOT
  }

  validation {
    condition     = !var.fifo || alltrue([for arn in var.source_topic_arns : endswith(arn, ".fifo")])
    error_message = <<-EOT
      Only FIFO topics deliver to a FIFO queue: every one of source_topic_arns ends with `.fifo`.
    EOT
  }
}

variable "sender_role" {
  description = <<-EOT
    A role for the sender to assume (Stream: `sqs_role_arn`), instead of or beside a right in the queue's
    policy: who may assume it, and the external id that they have to state, if they can.
  EOT
  type = object({
    trusted_accounts         = set(string)
    external_id              = optional(string)
    permissions_boundary_arn = optional(string)
  })
  default = null

  validation {
    condition = try(length(var.sender_role.trusted_accounts) > 0 && alltrue([
      for account in var.sender_role.trusted_accounts : can(regex("^[0-9]{12}$", account))
    ]), var.sender_role == null)
    error_message = "sender_role.trusted_accounts are one or more account numbers of twelve digits."
  }

  validation {
    condition     = var.sender_role == null || length(var.name) <= 57
    error_message = <<-EOT
      The role is named NAME-sender, and a role's name has 64 characters at most: with sender_role the name
      has up to 57.
    EOT
  }
}

variable "alarms" {
  description = <<-EOT
    Alarms on the age of the oldest message, on the number of waiting messages, and on anything in the
    dead-letter queue; `null` makes none. `actions` are the ARNs that are told when one goes off and ends.
  EOT
  type = object({
    age_seconds = optional(number, 300)
    depth       = optional(number, 10000)
    actions     = optional(set(string), [])
  })
  default = {}

  validation {
    condition     = var.alarms == null || try(var.alarms.age_seconds > 0 && var.alarms.depth > 0, false)
    error_message = "alarms.age_seconds and alarms.depth are above 0; `alarms = null` makes no alarm."
  }
}

variable "tags" {
  description = "Tags of everything that the module makes."
  type        = map(string)
  default     = {}
  nullable    = false
}
