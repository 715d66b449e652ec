# What a plan refuses. `Says:` is a part of the message; tests/terraform/modules.sh holds it to that.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  name          = "fanbridge"
  cluster_arn   = "arn:aws:ecs:eu-west-1:123456789012:cluster/events"
  image         = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/fanbridge:1.0.0"
  task_role_arn = "arn:aws:iam::123456789012:role/fanbridge"
  vpc_id        = "vpc-0"
  subnet_ids    = ["subnet-0a", "subnet-0b"]
  configuration = <<-EOT
    http: { listen: 0.0.0.0:8080 }
    admin: { listen: 0.0.0.0:9090, token: env:FANBRIDGE_ADMIN_TOKEN }
    spool: { dir: /var/lib/fanbridge/spool }
    ack: { after: [lake] }
    sources:
      stream: { provider: stream, secrets: [env:STREAM_SECRET] }
    sinks:
      lake: { kafka: { brokers: env:KAFKA_BROKERS } }
  EOT
  environment   = { KAFKA_BROKERS = "b-1.example.com:9098" }
  secrets = {
    FANBRIDGE_ADMIN_TOKEN = "arn:aws:ssm:eu-west-1:123456789012:parameter/fanbridge/token"
    STREAM_SECRET         = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:stream-a1b2c3:key::"
  }
}

run "a_name_that_no_balancer_can_have" {
  command = plan
  # Says: The name has 2 to 25 of a-z
  variables {
    name = "Fanbridge"
  }
  expect_failures = [var.name]
}

run "a_cluster_by_its_name" {
  command = plan
  # Says: cluster_arn is an ARN such as
  variables {
    cluster_arn = "events"
  }
  expect_failures = [var.cluster_arn]
}

run "the_latest_image" {
  command = plan
  # Says: `latest` and no tag are refused
  variables {
    image = "registry.example.com/fanbridge:latest"
  }
  expect_failures = [var.image]
}

run "an_image_without_a_tag" {
  command = plan
  # Says: `latest` and no tag are refused
  variables {
    image = "registry.example.com/fanbridge"
  }
  expect_failures = [var.image]
}

run "a_secret_written_out" {
  command = plan
  # Says: never the secret itself
  variables {
    secrets = { STREAM_SECRET = "swordfish" }
  }
  expect_failures = [var.secrets]
}

run "a_variable_twice" {
  command = plan
  # Says: a variable that `secrets` or the module itself sets
  variables {
    environment = { FANBRIDGE_CONFIG = "/x" }
  }
  expect_failures = [var.environment]
}

run "a_task_role_by_its_name" {
  command = plan
  # Says: task_role_arn is the ARN of a role
  variables {
    task_role_arn = "fanbridge"
  }
  expect_failures = [var.task_role_arn]
}

run "another_launch_type" {
  command = plan
  # Says: launch_type is FARGATE or EC2
  variables {
    launch_type = "EXTERNAL"
  }
  expect_failures = [var.launch_type]
}

run "another_architecture" {
  command = plan
  # Says: architecture is X86_64 or ARM64
  variables {
    architecture = "RISCV"
  }
  expect_failures = [var.architecture]
}

run "a_size_that_fargate_lacks" {
  command = plan
  # Says: cpu is 512, 1024
  variables {
    cpu = 700
  }
  expect_failures = [var.cpu]
}

run "too_little_memory" {
  command = plan
  # Says: memory is at least 1024 MiB
  variables {
    memory = 512
  }
  expect_failures = [var.memory]
}

run "one_subnet" {
  command = plan
  # Says: two or more subnets
  variables {
    subnet_ids = ["subnet-0a"]
  }
  expect_failures = [var.subnet_ids]
}

run "public_addresses_on_instances" {
  command = plan
  # Says: Tasks on EC2 cannot have public addresses
  variables {
    launch_type      = "EC2"
    assign_public_ip = true
  }
  expect_failures = [var.assign_public_ip]
}

run "ports_in_the_wrong_order" {
  command = plan
  # Says: egress has ports from_port to to_port
  variables {
    egress = { kafka = { from_port = 9098, to_port = 9092, cidr_ipv4 = "10.0.0.0/16" } }
  }
  expect_failures = [var.egress]
}

run "another_kind_of_disk" {
  command = plan
  # Says: storage.kind is task, ebs or efs
  variables {
    storage = { kind = "nfs" }
  }
  expect_failures = [var.storage]
}

run "a_disk_that_fargate_lacks" {
  command = plan
  # Says: has 21 to 200 GiB
  variables {
    storage = { size_gib = 500 }
  }
  expect_failures = [var.storage]
}

run "a_file_system_without_its_access_point" {
  command = plan
  # Says: needs file_system_id, access_point_id
  variables {
    desired_count = 1
    storage       = { kind = "efs", file_system_id = "fs-0" }
  }
  expect_failures = [var.storage]
}

run "two_tasks_with_one_spool" {
  command = plan
  # Says: A spool belongs to one process
  variables {
    storage = {
      kind              = "efs"
      file_system_id    = "fs-0"
      access_point_id   = "fsap-0"
      file_system_sg_id = "sg-0"
    }
  }
  expect_failures = [var.storage]
}

run "a_name_that_aws_keeps_to_itself" {
  command = plan
  # Says: which AWS keeps to itself
  variables {
    name = "internal-events"
  }
  expect_failures = [var.name]
}

run "memory_that_fargate_lacks" {
  command = plan
  # Says: a size that it has beside `cpu`
  variables {
    memory = 3000
  }
  expect_failures = [var.memory]
}

run "more_memory_than_fargate_has_beside_a_core" {
  command = plan
  # Says: a size that it has beside `cpu`
  variables {
    memory = 16384
  }
  expect_failures = [var.memory]
}

run "a_volume_that_is_faster_than_its_size_allows" {
  command = plan
  # Says: at most 500 for each GiB
  variables {
    storage = { kind = "ebs", size_gib = 10, iops = 6000 }
  }
  expect_failures = [var.storage]
}
