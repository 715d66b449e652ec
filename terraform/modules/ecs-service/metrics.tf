# The sidecar: it scrapes the bridge beside it and writes what the dashboard and the alarms read as CloudWatch
# metrics, by way of a log group. Which these are, and by which dimensions, is in terraform/metrics.json: they
# are few, because each series is billed.

locals {
  exported = jsondecode(file("${path.module}/../../metrics.json"))
  scraped  = sort(distinct(flatten(values(local.exported.dimensions))))

  token = var.metrics == null ? "" : "$${env:${var.metrics.token_variable}}"

  collector = var.metrics == null ? null : {
    receivers = {
      prometheus = {
        config = {
          scrape_configs = [{
            job_name        = "fanbridge"
            scrape_interval = "${var.metrics.interval_seconds}s"
            authorization   = { type = "Bearer", credentials = local.token }
            static_configs  = [{ targets = ["127.0.0.1:9090"], labels = { bridge = var.name } }]
            metric_relabel_configs = [{
              source_labels = ["__name__"]
              regex         = "${local.exported.prefix}(${join("|", local.scraped)})(_bucket|_sum|_count)?"
              action        = "keep"
            }]
          }]
        }
      }
    }
    processors = {
      # CloudWatch wants what came since the last time, of counters and of histograms.
      cumulativetodelta = {}
      batch             = {}
    }
    exporters = {
      awsemf = {
        namespace               = var.metrics.namespace
        region                  = data.aws_region.current.region
        log_group_name          = "/ecs/${var.name}/metrics"
        log_stream_name         = "bridge"
        dimension_rollup_option = "NoDimensionRollup"
        metric_declarations = [
          for dimensions, names in local.exported.dimensions : {
            dimensions            = [split(",", dimensions)]
            metric_name_selectors = ["^${local.exported.prefix}(${join("|", names)})$"]
          }
        ]
      }
    }
    service = {
      pipelines = {
        metrics = {
          receivers  = ["prometheus"]
          processors = ["cumulativetodelta", "batch"]
          exporters  = ["awsemf"]
        }
      }
    }
  }

  metrics_container = var.metrics == null ? null : {
    name                   = "metrics"
    image                  = var.metrics.image
    essential              = false
    restartPolicy          = { enabled = true }
    memory                 = 512
    readonlyRootFilesystem = true
    dependsOn              = [{ containerName = "bridge", condition = "START" }]
    environment            = [{ name = "AOT_CONFIG_CONTENT", value = yamlencode(local.collector) }]
    secrets = [{
      name = var.metrics.token_variable, valueFrom = lookup(var.secrets, var.metrics.token_variable, "")
    }]
    logConfiguration = local.logs.metrics
  }
}

resource "aws_cloudwatch_log_group" "metrics" {
  count = var.metrics == null ? 0 : 1

  name              = "/ecs/${var.name}/metrics"
  retention_in_days = 1
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}
