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
  description = "How a topic is named: text, `{provider}` and `{family}`; the same as the sink's `topic`."
  type        = string
  default     = "{provider}.{family}"
  nullable    = false

  validation {
    condition = (
      can(regex("^([A-Za-z0-9._-]|[{](provider|family)[}])+$", var.topic_template))
      && !startswith(var.topic_template, "__")
    )
    error_message = <<-EOT
      topic_template is made of letters, digits, `.`, `-`, `_`, {provider} and {family}, and does not begin
      with `__`.
    EOT
  }
}

variable "partitions" {
  description = "Partitions of each topic. More can be added later, but then a key can change its partition."
  type        = number
  default     = 12
  nullable    = false

  validation {
    condition     = var.partitions >= 1 && var.partitions <= 1000 && floor(var.partitions) == var.partitions
    error_message = "partitions is a whole number between 1 and 1000."
  }
}

variable "replication_factor" {
  description = "Brokers that have each partition. A change makes the topic anew, which deletes its records."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition = var.replication_factor >= 1 && var.replication_factor <= 7 && (
      floor(var.replication_factor) == var.replication_factor
    )
    error_message = "replication_factor is a whole number between 1 and 7."
  }
}

variable "min_insync_replicas" {
  description = "Replicas that must have a record before it counts as delivered (the bridge asks for all)."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition = var.min_insync_replicas >= 1 && (
      var.min_insync_replicas < var.replication_factor
      || (var.replication_factor == 1 && var.min_insync_replicas == 1)
    )
    error_message = <<-EOT
      min_insync_replicas has to be less than replication_factor: with as many, one broker that is down stops
      every write. (Both may be 1, for a cluster of one broker.)
    EOT
  }
}

variable "retention_hours" {
  description = "How long a topic keeps records; -1 keeps them for ever."
  type        = number
  default     = 168
  nullable    = false

  validation {
    condition     = var.retention_hours == -1 || var.retention_hours >= 1
    error_message = "retention_hours is at least 1, or -1."
  }
}

variable "retention_bytes" {
  description = "Most bytes of each partition, the oldest go first; -1 sets no bound."
  type        = number
  default     = -1
  nullable    = false

  validation {
    condition     = var.retention_bytes == -1 || var.retention_bytes >= 1048576
    error_message = "retention_bytes is at least 1048576 (1 MiB), or -1."
  }
}

variable "message_bytes_max" {
  description = "Largest record batch. The bridge takes bodies up to `limits.inflated_bytes_max`, 16 MiB."
  type        = number
  default     = 1048588
  nullable    = false

  validation {
    condition     = var.message_bytes_max >= 262144 && var.message_bytes_max <= 104857600
    error_message = "message_bytes_max is between 262144 (256 KiB) and 104857600 (100 MiB)."
  }
}

variable "config" {
  description = "Further properties of each topic, such as `{ \"segment.ms\" = \"3600000\" }`."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = length(setintersection(keys(var.config), [
      "min.insync.replicas", "retention.ms", "retention.bytes", "max.message.bytes",
    ])) == 0
    error_message = <<-EOT
      config has a property with a variable of its own: min_insync_replicas, retention_hours,
      retention_bytes or message_bytes_max.
    EOT
  }

  validation {
    condition     = lookup(var.config, "cleanup.policy", "delete") == "delete"
    error_message = <<-EOT
      cleanup.policy has to be `delete`: compaction keeps one event of each key and removes the others.
    EOT
  }

  validation {
    condition     = lookup(var.config, "unclean.leader.election.enable", "false") == "false"
    error_message = <<-EOT
      unclean.leader.election.enable has to be `false`: it lets a leader forget delivered records.
    EOT
  }
}

variable "overrides" {
  description = "What single topics have otherwise, by `PROVIDER.FAMILY`; `config` is added to that of all."
  type = map(object({
    partitions        = optional(number)
    retention_hours   = optional(number)
    retention_bytes   = optional(number)
    message_bytes_max = optional(number)
    config            = optional(map(string), {})
  }))
  default  = {}
  nullable = false

  validation {
    condition = length(setsubtract(keys(var.overrides), keys(local.topics))) == 0
    error_message = format(
      "overrides names a topic that the module does not make: %s. Topics are written PROVIDER.FAMILY.",
      join(", ", setsubtract(keys(var.overrides), keys(local.topics)))
    )
  }

  validation {
    condition = (
      length(distinct([for key, _ in var.overrides : try(local.topics[key], key)])) == length(var.overrides)
    )
    error_message = <<-EOT
      Two overrides are of one topic, because topic_template makes one topic of their families.
    EOT
  }

  validation {
    condition = alltrue([
      for override in values(var.overrides) : try(override.partitions >= 1, override.partitions == null)
    ])
    error_message = "overrides[].partitions is at least 1."
  }

  validation {
    condition = alltrue([
      for override in values(var.overrides) : length(setintersection(keys(override.config), [
        "min.insync.replicas", "retention.ms", "retention.bytes", "max.message.bytes", "cleanup.policy",
        "unclean.leader.election.enable",
      ])) == 0
    ])
    error_message = <<-EOT
      overrides[].config cannot have min.insync.replicas, cleanup.policy and unclean.leader.election.enable,
      nor a property with a key of its own (retention.ms, retention.bytes, max.message.bytes).
    EOT
  }
}

variable "producer" {
  description = <<-EOT
    Principal of the bridge, such as `User:fanbridge` or `User:CN=fanbridge`: it gets ACLs to write and to
    describe the topics. `null` makes none, for clusters without ACLs and for MSK with IAM.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.producer == null || can(regex("^User:[^*].*$", var.producer))
    error_message = "producer is a principal such as User:fanbridge; `User:*` would be everybody."
  }
}

variable "producer_can_create" {
  description = "Also let the producer create these topics (`fanbridge topics apply`)."
  type        = bool
  default     = false
  nullable    = false
}

variable "consumers" {
  description = <<-EOT
    Who reads, by a name of your choice: its principal, its consumer groups (`group_prefix = true` takes them
    as beginnings of names), and its topics as `PROVIDER.FAMILY`, all if none are named.
  EOT
  type = map(object({
    principal    = string
    groups       = set(string)
    group_prefix = optional(bool, false)
    topics       = optional(set(string), [])
  }))
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for consumer in values(var.consumers) : can(regex("^User:[^*].*$", consumer.principal))
    ])
    error_message = "consumers[].principal is a principal such as User:billing; `User:*` would be everybody."
  }

  validation {
    condition = alltrue([
      for consumer in values(var.consumers) : length(consumer.groups) > 0 && alltrue([
        for group in consumer.groups : group != "" && group != "*"
      ])
    ])
    error_message = "consumers[].groups are one or more names of consumer groups; `*` is refused."
  }

  validation {
    condition = alltrue([
      for consumer in values(var.consumers) : length(setsubtract(consumer.topics, keys(local.topics))) == 0
    ])
    error_message = "consumers[].topics names a topic that the module does not make: write PROVIDER.FAMILY."
  }
}

variable "acl_host" {
  description = "Address from which the principals may come; `*` is any."
  type        = string
  default     = "*"
  nullable    = false
}
