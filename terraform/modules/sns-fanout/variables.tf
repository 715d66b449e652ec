variable "families" {
  description = <<-EOT
    Providers and their families that get a topic: `{ stream = ["chat.message"] }`. An empty list takes every
    family of the provider's catalogue, also the one of types that no catalogue has (`unclassified`).
  EOT
  type        = map(set(string))
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([for provider, _ in var.families : contains(keys(local.catalogue), provider)])
    error_message = format(
      "families has a provider without a catalogue (%s). Known are: %s. Others belong into custom_families.",
      join(", ", setsubtract(keys(var.families), keys(local.catalogue))), join(", ", keys(local.catalogue))
    )
  }

  validation {
    condition = alltrue([
      for provider, families in var.families :
      length(setsubtract(families, lookup(local.catalogue, provider, families))) == 0
    ])
    error_message = format(
      "families has a family that the catalogue lacks: %s. `fanbridge types` lists them.",
      join(", ", flatten([
        for provider, families in var.families : [
          for family in setsubtract(families, lookup(local.catalogue, provider, families)) :
          "${provider}.${family}"
        ]
      ]))
    )
  }
}

variable "custom_families" {
  description = "Families of providers of your own (`providers` of the configuration), by provider."
  type        = map(set(string))
  default     = {}
  nullable    = false

  validation {
    condition = alltrue(flatten([
      for provider, families in var.custom_families : [
        for name in concat([provider], tolist(families)) : can(regex("^[a-z0-9][a-z0-9.-]{0,62}$", name))
      ]
    ]))
    error_message = "Providers and families are 1 to 63 of a-z, 0-9, `-`, and in families also `.`."
  }

  validation {
    condition     = length(setintersection(keys(var.custom_families), keys(local.catalogue))) == 0
    error_message = "custom_families names a provider of the catalogue: use `families` for it."
  }
}

variable "topic_template" {
  description = <<-EOT
    How a topic is named: text, `{provider}` and `{family}`, without `.fifo`. Dots of families become dashes.
    The bridge's `topic` is the output `topic_template`.
  EOT
  type        = string
  default     = "{provider}-{family}"
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9_-]|[{](provider|family)[}])+$", var.topic_template))
    error_message = <<-EOT
      topic_template is made of letters, digits, `-`, `_`, {provider} and {family}; `fifo = true` appends
      `.fifo`.
    EOT
  }
}

variable "fifo" {
  description = "Make FIFO topics. The bridge states group and deduplication id of each message itself."
  type        = bool
  default     = false
  nullable    = false
}

variable "fifo_archive_days" {
  description = <<-EOT
    FIFO only: how long the topics keep messages for replays by subscribers; `null` keeps none. SNS deletes no
    topic that has an archive: apply 0 first, which ends the archives and deletes what is in them.
  EOT
  type        = number
  default     = null

  validation {
    condition = var.fifo_archive_days == null || try(
      var.fifo && var.fifo_archive_days >= 0 && var.fifo_archive_days <= 365, false
    )
    error_message = <<-EOT
      fifo_archive_days is between 1 and 365, or 0 to end an archive, and needs `fifo = true`.
    EOT
  }
}

variable "kms_key_id" {
  description = <<-EOT
    Key that encrypts the topics and dead-letter queues: the ARN of a key of yours, or `alias/aws/sns`, AWS's
    own key for topics (the queues then use SSE-SQS). The policy of a key of yours needs what the output
    `kms_key_policy_json` says.
  EOT
  type        = string
  default     = "alias/aws/sns"
  nullable    = false

  validation {
    condition = var.kms_key_id == "alias/aws/sns" || can(regex(
      "^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_id
    ))
    error_message = "kms_key_id is the ARN of a key (arn:aws:kms:REGION:ACCOUNT:key/ID) or alias/aws/sns."
  }
}

variable "publisher_role_arns" {
  description = <<-EOT
    Roles that may publish by the topics' own policies: a bridge of another account. One of the same account
    has its right from its role (module iam) and needs none here.
  EOT
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.publisher_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[^*]+$", arn))
    ])
    error_message = "publisher_role_arns are ARNs of roles, such as arn:aws:iam::123456789012:role/fanbridge."
  }

  validation {
    condition     = length(var.publisher_role_arns) == 0 || var.kms_key_id != "alias/aws/sns"
    error_message = <<-EOT
      publisher_role_arns are of other accounts, and alias/aws/sns cannot be used from there: every message
      would be refused. Give a key of yours in kms_key_id, with what the output kms_key_policy_json says.
    EOT
  }
}

variable "subscriber_accounts" {
  description = "Other accounts that may subscribe queues and functions of theirs to the topics, by number."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.subscriber_accounts : can(regex("^[0-9]{12}$", account))])
    error_message = "subscriber_accounts are account numbers of twelve digits."
  }
}

variable "subscriptions" {
  description = <<-EOT
    Subscriptions, by a name of your choice. `topics` are keys `PROVIDER.FAMILY` of the output `topics`; an
    empty list is every topic. Each gets a dead-letter queue of its own, which keeps what could not be
    delivered for `dead_letter_retention_seconds`. `filter_policy` is JSON, and filters by message attributes
    or, with `filter_policy_scope = "MessageBody"`, by the body.
  EOT
  type = map(object({
    protocol                      = string
    endpoint                      = string
    topics                        = optional(set(string), [])
    filter_policy                 = optional(string)
    filter_policy_scope           = optional(string, "MessageAttributes")
    raw_message_delivery          = optional(bool, false)
    role_arn                      = optional(string)
    dead_letter_retention_seconds = optional(number, 1209600)
  }))
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for name, _ in var.subscriptions : can(regex("^[A-Za-z0-9_-]{1,40}$", name))
    ])
    error_message = "The name of a subscription has 1 to 40 letters, digits, `-` and `_`."
  }

  validation {
    condition = alltrue([
      for subscription in values(var.subscriptions) :
      contains(["sqs", "lambda", "https", "firehose"], subscription.protocol)
    ])
    error_message = "A subscription's protocol is sqs, lambda, https or firehose."
  }

  validation {
    condition = !var.fifo || alltrue([
      for subscription in values(var.subscriptions) : subscription.protocol == "sqs"
    ])
    error_message = <<-EOT
      FIFO topics deliver to queues only: a subscription with another protocol is not possible.
    EOT
  }

  validation {
    condition = var.fifo || alltrue([
      for subscription in values(var.subscriptions) : !endswith(subscription.endpoint, ".fifo")
    ])
    error_message = <<-EOT
      Only FIFO topics deliver to a FIFO queue: set `fifo = true`, or subscribe a standard queue.
    EOT
  }

  validation {
    condition = alltrue([
      for subscription in values(var.subscriptions) :
      (subscription.protocol == "firehose") == (subscription.role_arn != null)
    ])
    error_message = "A subscription of Firehose, and no other, needs role_arn: the role that SNS writes with."
  }

  validation {
    condition = alltrue([
      for subscription in values(var.subscriptions) :
      !subscription.raw_message_delivery || subscription.protocol != "lambda"
    ])
    error_message = "Lambda takes no raw messages: leave raw_message_delivery out."
  }

  validation {
    condition = alltrue([
      for subscription in values(var.subscriptions) :
      subscription.protocol == "https"
      ? can(regex("^https://[^/@]+/", subscription.endpoint))
      : can(regex("^arn:aws[a-z-]*:(sqs|lambda|firehose):", subscription.endpoint))
    ])
    error_message = <<-EOT
      An endpoint is an ARN, or for protocol https a URL without a password, such as https://host/path.
    EOT
  }

  validation {
    condition = alltrue([
      for subscription in values(var.subscriptions) : subscription.filter_policy == null || can(
        keys(jsondecode(subscription.filter_policy))
      )
    ])
    error_message = "A filter_policy is a JSON object: jsonencode({ family = [\"chat.message\"] })."
  }

  validation {
    condition = alltrue([
      for subscription in values(var.subscriptions) :
      contains(["MessageAttributes", "MessageBody"], subscription.filter_policy_scope)
    ])
    error_message = "filter_policy_scope is MessageAttributes or MessageBody."
  }

  validation {
    condition = alltrue([
      for subscription in values(var.subscriptions) :
      length(setsubtract(subscription.topics, keys(local.topics))) == 0
    ])
    error_message = format(
      "A subscription names a topic that the module does not make: %s. Topics are written PROVIDER.FAMILY.",
      join(", ", flatten([
        for subscription in values(var.subscriptions) :
        tolist(setsubtract(subscription.topics, keys(local.topics)))
      ]))
    )
  }

  validation {
    condition = alltrue([
      for subscription in values(var.subscriptions) :
      subscription.dead_letter_retention_seconds >= 60
      && subscription.dead_letter_retention_seconds <= 1209600
    ])
    error_message = "dead_letter_retention_seconds is between 60 and 1209600 (14 days)."
  }
}

variable "delivery_status" {
  description = <<-EOT
    Log what became of deliveries to subscriptions, in CloudWatch Logs: failures all, successes by this
    percentage. `null` logs nothing.
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
}

variable "name" {
  description = "Begins the names of dead-letter queues, roles and alarms of this module."
  type        = string
  default     = "fanbridge"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,24}$", var.name))
    error_message = "The name has 1 to 24 letters, digits, `-` and `_`."
  }
}

variable "alarms" {
  description = <<-EOT
    Alarms on deliveries that failed for good, and on anything in a dead-letter queue, for topics that have
    subscriptions here; `null` makes none. `actions` are the ARNs that are told.
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
