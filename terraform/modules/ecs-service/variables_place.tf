variable "launch_type" {
  description = "`FARGATE`, or `EC2` for instances of the cluster's own."
  type        = string
  default     = "FARGATE"
  nullable    = false

  validation {
    condition     = contains(["FARGATE", "EC2"], var.launch_type)
    error_message = "launch_type is FARGATE or EC2."
  }
}

variable "architecture" {
  description = "`X86_64` or `ARM64`; the image has to have it."
  type        = string
  default     = "X86_64"
  nullable    = false

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "architecture is X86_64 or ARM64."
  }
}

variable "cpu" {
  description = "CPU of a task in units (1024 are one core); on Fargate 512, 1024, 2048, 4096, 8192 or 16384."
  type        = number
  default     = 1024
  nullable    = false

  validation {
    condition = var.launch_type == "EC2" ? var.cpu >= 256 : contains(
      [512, 1024, 2048, 4096, 8192, 16384], var.cpu
    )
    error_message = "cpu is 512, 1024, 2048, 4096, 8192 or 16384 on Fargate, and at least 256 on EC2."
  }
}

variable "memory" {
  description = "Memory of a task in MiB; the bridge alone can hold 256 MiB of bodies on their way."
  type        = number
  default     = 2048
  nullable    = false

  validation {
    condition = var.memory >= 1024 && (var.launch_type == "EC2" || (
      var.memory >= var.cpu * 2
      && var.memory <= lookup(
        { "512" = 4096, "4096" = 30720, "8192" = 61440, "16384" = 122880 }, tostring(var.cpu), var.cpu * 8
      )
      && var.memory % (var.cpu > 8192 ? 8192 : var.cpu > 4096 ? 4096 : 1024) == 0
    ))
    error_message = <<-EOT
      memory is at least 1024 MiB, and on Fargate a size that it has beside `cpu`: from twice `cpu` to four or
      eight times it, in steps of 1024 (of 4096 with 8 cores, of 8192 with 16).
    EOT
  }
}

variable "vpc_id" {
  description = "VPC of the service and of its load balancer."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Private subnets of the tasks, in two or more availability zones."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 2
    error_message = "subnet_ids has two or more subnets, so that one zone's outage stops no delivery."
  }
}

variable "assign_public_ip" {
  description = "Give tasks public addresses; only on Fargate, for public subnets without a NAT gateway."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.assign_public_ip || var.launch_type == "FARGATE"
    error_message = "Tasks on EC2 cannot have public addresses: set assign_public_ip = false."
  }
}

variable "egress" {
  description = <<-EOT
    Where tasks may connect to, by a name of your choice. Kafka and Redis may need narrower or other ports.
  EOT
  type = map(object({
    from_port = number
    to_port   = number
    cidr_ipv4 = string
  }))
  default = {
    https = { from_port = 443, to_port = 443, cidr_ipv4 = "0.0.0.0/0" }
    kafka = { from_port = 9092, to_port = 9098, cidr_ipv4 = "0.0.0.0/0" }
  }
  nullable = false

  validation {
    condition = alltrue([
      for rule in values(var.egress) : rule.from_port <= rule.to_port && can(cidrhost(rule.cidr_ipv4, 0))
    ])
    error_message = "egress has ports from_port to to_port and a network such as 10.0.0.0/16."
  }
}

variable "admin_security_group_ids" {
  description = <<-EOT
    Security groups that may reach the admin listener (9090) beside the load balancer: a Prometheus.
  EOT
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "storage" {
  description = <<-EOT
    The disk under the spool. `task`: the task's own, `size_gib` in all (Fargate: 21 to 200). `ebs`: a
    volume that ECS makes for each task and removes with it. `efs`: a file system that outlasts the task, for
    exactly one task. Only `efs` lasts; with the others every source has to wait for every sink (`ack.after`),
    but for those in `may_lose_sinks`, whose events may be lost with a task.
  EOT
  type = object({
    kind              = optional(string, "task")
    may_lose_sinks    = optional(set(string), [])
    size_gib          = optional(number, 30)
    iops              = optional(number, 3000)
    throughput        = optional(number, 125)
    kms_key_arn       = optional(string)
    file_system_id    = optional(string)
    access_point_id   = optional(string)
    file_system_sg_id = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["task", "ebs", "efs"], var.storage.kind)
    error_message = "storage.kind is task, ebs or efs."
  }

  validation {
    condition = (
      var.storage.kind != "task" || var.launch_type == "EC2"
      || (var.storage.size_gib >= 21 && var.storage.size_gib <= 200)
    )
    error_message = "The disk of a task on Fargate (storage.size_gib) has 21 to 200 GiB."
  }

  validation {
    condition = var.storage.kind != "ebs" || (
      var.storage.size_gib >= 1 && var.storage.iops >= 3000 && var.storage.throughput >= 125
      && var.storage.iops <= max(3000, var.storage.size_gib * 500)
      && var.storage.throughput <= var.storage.iops / 4
    )
    error_message = <<-EOT
      A volume (gp3) has 3000 or more storage.iops, at most 500 for each GiB of storage.size_gib, and a
      storage.throughput of 125 MiB/s or more, at most a quarter of its iops. 3000 and 125 cost nothing.
    EOT
  }

  validation {
    condition = var.storage.kind != "efs" || (
      var.storage.file_system_id != null && var.storage.access_point_id != null
      && var.storage.file_system_sg_id != null
    )
    error_message = "storage.kind = efs needs file_system_id, access_point_id and file_system_sg_id."
  }

  validation {
    condition     = var.storage.kind != "efs" || (var.desired_count == 1 && var.autoscaling == null)
    error_message = <<-EOT
      A spool belongs to one process: with storage.kind = efs, desired_count is 1 and autoscaling is null. Use
      the module several times, with an access point each, for several replicas.
    EOT
  }
}
