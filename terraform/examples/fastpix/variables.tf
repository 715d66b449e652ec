variable "region" {
  description = "Region of everything here."
  type        = string
  default     = "eu-west-1"
  nullable    = false
}

variable "name" {
  description = "Name of the service, and beginning of the names of all else."
  type        = string
  default     = "fastpix-fanout"
  nullable    = false
}

variable "image" {
  description = "The bridge's image, as REGISTRY/NAME:VERSION or with a digest. It has no default."
  type        = string
  nullable    = false
}

variable "cluster_arn" {
  description = "ECS cluster that runs the bridge."
  type        = string
  nullable    = false
}

variable "network" {
  description = "Where it runs: the VPC, private subnets for the tasks, public ones for the load balancer."
  type = object({
    vpc_id             = string
    private_subnet_ids = list(string)
    public_subnet_ids  = list(string)
  })
  nullable = false
}

variable "certificate_arn" {
  description = "Certificate (ACM) of the host name that the provider delivers to."
  type        = string
  nullable    = false
}

variable "signing_secret_arn" {
  description = "Secret of Secrets Manager with FastPix's signing secret as it is shown, in the region above."
  type        = string
  nullable    = false
}

variable "admin_token_arn" {
  description = "Secret of Secrets Manager with a random token of 32 characters or more: the admin token."
  type        = string
  nullable    = false
}

variable "events" {
  description = <<-EOT
    Event types that are published, by their family: each family gets a topic, and all other types are
    answered and dropped. `fanbridge types --provider fastpix` lists both.
  EOT
  type        = map(set(string))
  default = {
    live-stream = ["video.live_stream.active"]
    media       = ["video.media.failed", "video.media.ready"]
  }
  nullable = false

  validation {
    condition     = length(var.events) > 0 && alltrue([for types in values(var.events) : length(types) > 0])
    error_message = "events has at least one family, and each family at least one type."
  }
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
