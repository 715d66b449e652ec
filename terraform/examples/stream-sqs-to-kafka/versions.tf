terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
    kafka = {
      source  = "Mongey/kafka"
      version = ">= 0.13"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = var.tags
  }
}

# Credentials stay out of the state: with SCRAM or PLAIN, Terraform's own come from KAFKA_SASL_USERNAME and
# KAFKA_SASL_PASSWORD; with IAM, from where the AWS provider has them.
provider "kafka" {
  bootstrap_servers = var.kafka.brokers
  tls_enabled       = var.kafka.tls
  sasl_mechanism    = local.terraform_mechanism
  sasl_aws_region   = local.has_iam ? var.region : null
}
