# A topic for each family of events, on MSK or any other Kafka, and who may write and read it.

resource "kafka_topic" "this" {
  for_each = local.names

  name               = each.value
  partitions         = coalesce(try(local.overrides[each.value].partitions, null), var.partitions)
  replication_factor = var.replication_factor

  config = merge(
    var.config,
    try(local.overrides[each.value].config, {}),
    {
      "cleanup.policy"                 = "delete"
      "unclean.leader.election.enable" = "false"
      "min.insync.replicas"            = tostring(var.min_insync_replicas)
      "retention.ms"                   = local.retention_ms[each.value]
      "retention.bytes" = tostring(
        coalesce(try(local.overrides[each.value].retention_bytes, null), var.retention_bytes)
      )
      "max.message.bytes" = tostring(
        coalesce(try(local.overrides[each.value].message_bytes_max, null), var.message_bytes_max)
      )
    },
  )

  lifecycle {
    precondition {
      condition     = length(each.value) <= 249 && !contains([".", ".."], each.value)
      error_message = "A Kafka topic has 1 to 249 characters: shorten topic_template (${each.value})."
    }
  }
}

locals {
  retention_hours = {
    for name in local.names :
    name => coalesce(try(local.overrides[name].retention_hours, null), var.retention_hours)
  }
  retention_ms = {
    for name, hours in local.retention_hours : name => hours == -1 ? "-1" : format("%d", hours * 3600000)
  }
}
