variable "region" {
  description = "Region of the topics."
  type        = string
  default     = "eu-west-1"
  nullable    = false
}

variable "name" {
  description = "Beginning of the names of the bridge's role, of queues and of alarms."
  type        = string
  default     = "stream-fanout"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,24}$", var.name))
    error_message = "The name has 1 to 24 letters, digits, `-` and `_`."
  }
}

variable "fifo" {
  description = "Make FIFO topics and a FIFO queue: the order of the events of one call or channel is kept."
  type        = bool
  default     = false
  nullable    = false
}

variable "consumer_families" {
  description = "Families of Stream whose events the consumer's queue gets."
  type        = set(string)
  default     = ["video.recording", "video.transcription"]
  nullable    = false

  validation {
    condition     = length(var.consumer_families) > 0
    error_message = "consumer_families names at least one: `fanbridge types --provider stream` lists them."
  }
}

variable "consumer_types" {
  description = "Event types that the consumer wants of those families; an empty set is all of them."
  type        = set(string)
  default     = ["call.recording_ready", "call.transcription_ready"]
  nullable    = false
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
