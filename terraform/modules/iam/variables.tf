variable "name" {
  description = "Name of the role and of its policy."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", var.name))
    error_message = "The name of a role has 1 to 64 letters, digits and characters of +=,.@_-"
  }
}

variable "path" {
  description = "Path of the role and of its policy."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([!-~]+/)?$", var.path))
    error_message = "A path begins and ends with `/`, such as /events/."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds what the role can ever do, by ARN."
  type        = string
  default     = null

  validation {
    condition = (
      var.permissions_boundary_arn == null
      || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    )
    error_message = "permissions_boundary_arn is the ARN of a policy (arn:aws:iam::ACCOUNT:policy/NAME)."
  }
}

variable "trust" {
  description = <<-EOT
    Who takes the role; one or more of: `ecs` (tasks of these clusters' account and region), `irsa` (a
    service account of Kubernetes, by the cluster's OIDC provider), `pod_identity` (EKS Pod Identity; with
    `cluster` the association is made, too), `ec2` (instances; an instance profile is made).
  EOT
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
  nullable = false

  validation {
    condition     = anytrue([for who in values(var.trust) : who != null])
    error_message = <<-EOT
      Nobody could take the role: state trust.ecs, trust.ec2, trust.irsa or trust.pod_identity.
    EOT
  }

  validation {
    condition = var.trust.irsa == null || can(regex(
      "^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/.+$", var.trust.irsa.oidc_provider_arn
    ))
    error_message = <<-EOT
      trust.irsa.oidc_provider_arn is the ARN of an OIDC provider of IAM, not the issuer's URL.
    EOT
  }

  validation {
    condition = alltrue([
      for who in [var.trust.irsa, var.trust.pod_identity] : who == null || try(
        can(regex("^[a-z0-9-]{1,63}$", who.namespace))
        && can(regex("^[a-z0-9.-]{1,253}$", who.service_account)), false
      )
    ])
    error_message = "namespace and service_account are names of Kubernetes, without wildcards."
  }
}

variable "queue_arns" {
  description = "Queues that the bridge reads: every source with `sqs`."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.queue_arns :
      can(regex("^arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,80}([.]fifo)?$", arn))
    ])
    error_message = "queue_arns are exact ARNs of queues, such as arn:aws:sqs:eu-west-1:123456789012:events."
  }
}

variable "confirm_topic_arns" {
  description = "Topics whose subscription the bridge confirms: `sns.topics` and `sqs.confirm_topics`."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.confirm_topic_arns :
      can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}([.]fifo)?$", arn))
    ])
    error_message = "confirm_topic_arns are exact ARNs of topics (arn:aws:sns:REGION:ACCOUNT:NAME)."
  }
}

variable "publish_topic_arns" {
  description = "Topics that SNS sinks publish to: `publish_topic_arns` of the module sns-fanout."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.publish_topic_arns :
      can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}([.]fifo)?$", arn))
    ])
    error_message = "publish_topic_arns are exact ARNs of topics (arn:aws:sns:REGION:ACCOUNT:NAME)."
  }
}

variable "msk" {
  description = <<-EOT
    MSK clusters that the bridge reaches by IAM, each with the names of the topics that it writes.
  EOT
  type = list(object({
    cluster_arn = string
    topics      = list(string)
  }))
  default  = []
  nullable = false

  validation {
    condition = alltrue([
      for cluster in var.msk :
      can(regex("^arn:aws[a-z-]*:kafka:[a-z0-9-]+:[0-9]{12}:cluster/[^/*]+/[^/*]+$", cluster.cluster_arn))
    ])
    error_message = <<-EOT
      msk[].cluster_arn is an ARN such as arn:aws:kafka:eu-west-1:123456789012:cluster/NAME/UUID.
    EOT
  }

  validation {
    condition = alltrue([
      for cluster in var.msk : length(cluster.topics) > 0 && alltrue([
        for topic in cluster.topics : can(regex("^[A-Za-z0-9._-]{1,249}$", topic))
      ])
    ])
    error_message = "msk[].topics are one or more names of Kafka topics, without wildcards."
  }
}

variable "secret_arns" {
  description = "Secrets of Secrets Manager that the bridge reads itself (`aws-sm:`), by their full ARNs."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.secret_arns :
      can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^*]+$", arn))
    ])
    error_message = "secret_arns are ARNs of secrets, without `*`; a name alone ends with `-??????`."
  }
}

variable "parameter_arns" {
  description = "Parameters of Systems Manager that the bridge reads itself (`aws-ssm:`), by ARN."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.parameter_arns :
      can(regex("^arn:aws[a-z-]*:ssm:[a-z0-9-]+:[0-9]{12}:parameter/[^*?]+$", arn))
    ])
    error_message = "parameter_arns are exact ARNs (arn:aws:ssm:REGION:ACCOUNT:parameter/NAME)."
  }
}

variable "queue_kms_key_arns" {
  description = "Keys of yours that encrypt the queues in `queue_arns`."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.queue_kms_key_arns :
      can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))
    ])
    error_message = "queue_kms_key_arns are ARNs of keys; an alias does not work in a policy's Resource."
  }
}

variable "topic_kms_key_arns" {
  description = "Keys of yours that encrypt the topics in `publish_topic_arns`."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.topic_kms_key_arns :
      can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))
    ])
    error_message = "topic_kms_key_arns are ARNs of keys; an alias does not work in a policy's Resource."
  }
}

variable "secret_kms_key_arns" {
  description = "Keys of yours that encrypt the secrets and parameters."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.secret_kms_key_arns :
      can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))
    ])
    error_message = "secret_kms_key_arns are ARNs of keys; an alias does not work in a policy's Resource."
  }
}

variable "allow_doctor" {
  description = "Also allow what only `fanbridge doctor` asks: attributes of the queues and topics."
  type        = bool
  default     = false
  nullable    = false
}

variable "allow_topics_apply" {
  description = <<-EOT
    Also allow `fanbridge topics apply` to create topics. Leave it out where Terraform makes them.
  EOT
  type        = bool
  default     = false
  nullable    = false
}

variable "additional_policy_arns" {
  description = <<-EOT
    Further policies for the role, by a name of your choice: what a sidecar in the same task needs.
  EOT
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "tags" {
  description = "Tags of everything that the module makes."
  type        = map(string)
  default     = {}
  nullable    = false
}
