# What the module reads in the bridge's configuration, to refuse what would lose events or could not run here.

locals {
  config = yamldecode(var.configuration)

  # Each sink, and whether it writes files. Without a sink the bridge writes files.
  stated_sinks = try({ for name, sink in local.config.sinks : name => can(sink.file) }, {})
  sinks        = length(local.stated_sinks) > 0 ? tomap(local.stated_sinks) : tomap({ local = true })

  kept_sinks = [for name, _ in local.sinks : name if !contains(var.storage.may_lose_sinks, name)]

  # Files are on the same disk, so waiting for them waits for nothing.
  lasting_sinks = [for name, is_file in local.sinks : name if !is_file]

  # A source's own block replaces the one at the top.
  awaited = {
    for name, source in local.config.sources :
    name => setintersection(
      toset(try(source.ack.after, try(local.config.ack.after, []))), toset(local.lasting_sinks)
    )
  }
  unsafe = var.storage.kind == "efs" ? [] : flatten([
    for name, sinks in local.awaited : [
      for sink in sort(setsubtract(local.kept_sinks, sinks)) : "${name} → ${sink}"
    ]
  ])

  # The values alone, without comments.
  values            = jsonencode(local.config)
  variables         = toset(flatten(regexall("\"env:([A-Za-z_][A-Za-z0-9_]*)\"", local.values)))
  missing_variables = sort(setsubtract(local.variables, concat(keys(var.secrets), keys(var.environment))))
  files             = sort(distinct(flatten(regexall("\"file:([^\"]*)\"", local.values))))

  # The token of the sidecar, and whether the bridge takes it for its metrics alone.
  metrics_token = try("env:${var.metrics.token_variable}", "env:NAME")
  reads_metrics_alone = var.metrics == null ? true : (
    try(local.config.admin.metrics_token, "") == local.metrics_token
    && try(local.config.admin.token, "") != local.metrics_token
  )

  shutdown_grace = try(tonumber(local.config.shutdown_grace_seconds), 30)

  units = {
    "" = 1, KiB = pow(1024, 1), MiB = pow(1024, 2), GiB = pow(1024, 3), TiB = pow(1024, 4)
    kB = pow(1000, 1), KB = pow(1000, 1), MB = pow(1000, 2), GB = pow(1000, 3), TB = pow(1000, 4)
  }
  spool_size = try(regex("^([0-9.]+) *([kKMGT]i?B)?$", tostring(local.config.spool.bytes_max)), null)
  spool_bytes_max = try(
    tonumber(local.spool_size[0]) * local.units[coalesce(local.spool_size[1], "")],
    20 * local.units.GiB
  )
}
