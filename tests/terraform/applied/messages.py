"""What a sender and a consumer do with a queue of the emulator, which AWS_ENDPOINT_URL names.

    messages.py send URL TYPE COUNT    sends COUNT events of TYPE as Stream does; prints their ids of calls
    messages.py count URL              prints how many messages wait or are being handled
    messages.py receive URL COUNT      takes messages, for 20 s at most; prints each body as a line
"""

import json
import os
import sys
import time

import boto3

sqs = boto3.client("sqs", region_name=os.environ["AWS_REGION"])


def send(url, kind, count):
    for number in range(int(count)):
        call = f"default:terraform-{number}"
        body = {"type": kind, "call_cid": call, "created_at": "2026-11-21T06:40:00.000Z"}
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))
        print(call)


def count(url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
    print(sum(int(answer["Attributes"][name]) for name in names))


def receive(url, wanted):
    left, until = int(wanted), time.monotonic() + 20
    while left > 0 and time.monotonic() < until:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            print(json.dumps(json.loads(message["Body"])))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            left -= 1


{"send": send, "count": count, "receive": receive}[sys.argv[1]](*sys.argv[2:])
