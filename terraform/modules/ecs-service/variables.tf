variable "name" {
  description = "Name of the service, its tasks, roles, log group and load balancer."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,23}[a-z0-9]$", var.name))
    error_message = "The name has 2 to 25 of a-z, 0-9 and `-`, and begins with a letter."
  }

  validation {
    condition     = !can(regex("^(internal|sg)-", var.name))
    error_message = <<-EOT
      The name begins with internal- or sg-, which AWS keeps to itself for load balancers and security groups.
    EOT
  }
}

variable "cluster_arn" {
  description = "ECS cluster that runs the service."
  type        = string
  nullable    = false

  validation {
    condition = can(regex(
      "^arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]{12}:cluster/[A-Za-z0-9_-]+$", var.cluster_arn
    ))
    error_message = "cluster_arn is an ARN such as arn:aws:ecs:eu-west-1:123456789012:cluster/events."
  }
}

variable "image" {
  description = "The bridge's image, with a digest or a version: a rollback has to find what ran before."
  type        = string
  nullable    = false

  validation {
    condition = (
      can(regex("^[^\\s@]+@sha256:[0-9a-f]{64}$", var.image))
      || can(regex("^[^\\s@]+/[^\\s@:]+:[A-Za-z0-9_.-]+$", var.image)) && !endswith(var.image, ":latest")
    )
    error_message = <<-EOT
      image is REGISTRY/NAME:VERSION or REGISTRY/NAME@sha256:DIGEST; `latest` and no tag are refused.
    EOT
  }
}

variable "configuration" {
  description = <<-EOT
    The bridge's configuration (YAML). It has to listen on 0.0.0.0:8080 and 0.0.0.0:9090, keep its spool in
    /var/lib/fanbridge/spool, and name its secrets as `env:NAME`, `aws-sm:…` or `aws-ssm:…`. Unless
    `storage.kind` is `efs`, every source has to wait for every sink (`ack.after`).
  EOT
  type        = string
  nullable    = false

  validation {
    condition     = can(keys(yamldecode(var.configuration).sources))
    error_message = "configuration is no YAML document with `sources`: run `fanbridge check` on it."
  }

  validation {
    condition     = length(var.configuration) <= 32768
    error_message = "configuration has more than 32768 characters: a task definition has no room for it."
  }

  validation {
    condition     = try(yamldecode(var.configuration).http.listen, "") == "0.0.0.0:8080"
    error_message = <<-EOT
      configuration needs `http: { listen: 0.0.0.0:8080 }`: the load balancer reaches it there.
    EOT
  }

  validation {
    condition = (
      try(yamldecode(var.configuration).admin.listen, "") == "0.0.0.0:9090"
      && can(regex("^(env|file|aws-sm|aws-ssm):.", yamldecode(var.configuration).admin.token))
    )
    error_message = <<-EOT
      configuration needs `admin: { listen: 0.0.0.0:9090, token: env:NAME }`: the load balancer asks /readyz
      there, and without a token everybody in the network could read and change the bridge. Write where the
      token is, never the token: it would stand in the task definition and in Terraform's state.
    EOT
  }

  validation {
    condition = can(regex("^(env|file|aws-sm|aws-ssm):.", coalesce(
      try(yamldecode(var.configuration).admin.metrics_token, null), "env:NAME"
    )))
    error_message = <<-EOT
      configuration has the metrics token itself. Write where it is, such as `metrics_token: env:NAME`: the
      token would stand in the task definition and in Terraform's state.
    EOT
  }

  validation {
    condition     = try(yamldecode(var.configuration).spool.dir, "") == "/var/lib/fanbridge/spool"
    error_message = <<-EOT
      configuration needs `spool: { dir: /var/lib/fanbridge/spool }`: nothing else can be written to.
    EOT
  }
}

variable "secrets" {
  description = <<-EOT
    Variables of the task that hold secrets, with where each is kept: the ARN of a secret of Secrets Manager
    (`ARN:KEY::` for one member of a JSON secret) or of a parameter. They are read when a task starts.
  EOT
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for arn in values(var.secrets) : can(regex(
        "^arn:aws[a-z-]*:(secretsmanager|ssm):[a-z0-9-]+:[0-9]{12}:(secret:|parameter/)[^*]+$", arn
      ))
    ])
    error_message = "secrets are ARNs of secrets or parameters, never the secret itself."
  }
}

variable "secret_kms_key_arns" {
  description = "Keys of yours that encrypt what `secrets` names."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "environment" {
  description = "Further variables of the bridge that are no secrets, such as `KAFKA_BROKERS`."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = length(setintersection(keys(var.environment), concat(
      keys(var.secrets), ["FANBRIDGE_CONFIG"]
    ))) == 0
    error_message = "environment has a variable that `secrets` or the module itself sets."
  }
}

variable "task_role_arn" {
  description = "Role of the running bridge: `role_arn` of the module iam with `trust = { ecs = {} }`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", var.task_role_arn))
    error_message = "task_role_arn is the ARN of a role."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds the roles that the module makes, by ARN."
  type        = string
  default     = null
}

variable "registry_secret_arn" {
  description = "Secret with the credentials of the image's registry, if it wants any and is not ECR."
  type        = string
  default     = null
}
