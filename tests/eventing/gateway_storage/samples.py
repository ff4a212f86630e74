"""The vendors' documented notifications, each with the page that it stands on, to be changed by tests."""

from __future__ import annotations

import base64
import copy
from typing import Any

import orjson

Json = dict[str, Any]


def s3() -> Json:
    """https://docs.aws.amazon.com/lambda/latest/dg/with-s3.html; its fields are explained in AmazonS3's
    userguide/notification-content-structure.html."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "us-east-2",
                "eventTime": "2019-09-03T19:37:27.192Z",
                "eventName": "ObjectCreated:Put",
                "userIdentity": {"principalId": "AWS:AIDAINPONIXQXHT3IKHL2"},
                "requestParameters": {"sourceIPAddress": "205.255.255.255"},
                "responseElements": {
                    "x-amz-request-id": "D82B88E5F771F645",
                    "x-amz-id-2": "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6",
                },
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "828aa6fc-f7b5-4305-8584-487c791949c1",
                    "bucket": {
                        "name": "amzn-s3-demo-bucket",
                        "ownerIdentity": {"principalId": "A3I5XTEXAMAI3E"},
                        "arn": "arn:aws:s3:::lambda-artifacts-deafc19498e3f2df",
                    },
                    "object": {
                        "key": "b21b84d653bb07b05b1e6b33684dc11b",
                        "size": 1305107,
                        "eTag": "b21b84d653bb07b05b1e6b33684dc11b",
                        "sequencer": "0C0F6F405D6ED209E1",
                    },
                },
            }
        ]
    }


S3_TEST: Json = {
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": "amzn-s3-demo-bucket",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}


def minio() -> Json:
    """As minio/thumbnailer#4 shows a delivery; the wrapper is described in minio/minio,
    docs/bucket/notifications/README.md."""
    return {
        "EventName": "s3:ObjectCreated:Put",
        "Key": "images/test12/DG0890EY2.jpg",
        "Records": [
            {
                "eventVersion": "2.0",
                "eventSource": "minio:s3",
                "awsRegion": "",
                "eventTime": "2018-10-26T11:18:32Z",
                "eventName": "s3:ObjectCreated:Put",
                "userIdentity": {"principalId": "SV8EUTD78ZV13T1PP8FM"},
                "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                "responseElements": {
                    "x-amz-request-id": "15612487A9DF732C",
                    "x-minio-origin-endpoint": "https://10.0.75.1:9000",
                },
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "Config",
                    "bucket": {
                        "name": "images",
                        "ownerIdentity": {"principalId": "SV8EUTD78ZV13T1PP8FM"},
                        "arn": "arn:aws:s3:::images",
                    },
                    "object": {
                        "key": "test12%2FDG0890EY2.jpg",
                        "size": 629648,
                        "eTag": "b7ce786cd89b182bfd5ae765557bbc37",
                        "contentType": "image/jpeg",
                        "userMetadata": {"content-type": "image/jpeg"},
                        "versionId": "1",
                        "sequencer": "15612487A9DF732C",
                    },
                },
                "source": {"host": "", "port": "", "userAgent": "MinIO (linux; amd64)"},
            }
        ],
    }


def ceph() -> Json:
    """https://docs.ceph.com/en/latest/radosgw/notifications/ (Events)."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "ceph:s3",
                "awsRegion": "us-east-1",
                "eventTime": "2019-11-22T13:47:35.124724Z",
                "eventName": "ObjectCreated:Put",
                "userIdentity": {"principalId": "tester"},
                "requestParameters": {"sourceIPAddress": ""},
                "responseElements": {
                    "x-amz-request-id": "503a4c37-85eb-47cd-8681-2817e80b4281.5330.903595",
                    "x-amz-id-2": "14d2-zone1-zonegroup1",
                },
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "mynotif1",
                    "bucket": {
                        "name": "mybucket1",
                        "ownerIdentity": {"principalId": "tester"},
                        "arn": "arn:aws:s3:us-east-1::mybucket1",
                        "id": "503a4c37-85eb-47cd-8681-2817e80b4281.5332.38",
                    },
                    "object": {
                        "key": "myimage1.jpg",
                        "size": "1024",
                        "eTag": "37b51d194a7513e45b56f6524f2d51f2",
                        "versionId": "",
                        "sequencer": "F7E6D75DC742D108",
                        "metadata": [],
                        "tags": [],
                    },
                },
                "eventId": "",
                "opaqueData": "me@example.com",
            }
        ]
    }


def ceph_headers() -> dict[str, str]:
    """What RGW adds with `cloudevents=true` (src/rgw/driver/rados/rgw_pubsub_push.cc)."""
    return {
        "ce-specversion": "1.0",
        "ce-type": "com.amazonaws.ObjectCreated:Put",
        "ce-time": "2019-11-22T13:47:35.124724Z",
        "ce-id": "503a4c37-85eb-47cd-8681-2817e80b4281.5330.903595.14d2-zone1-zonegroup1",
        "ce-source": "ceph:s3.us-east-1.mybucket1",
        "ce-subject": "myimage1.jpg",
        "content-type": "application/json",
    }


def sns(message: str, kind: str = "Notification") -> Json:
    """https://docs.aws.amazon.com/sns/latest/dg/http-notification-json.html and
    http-subscription-confirmation-json.html."""
    return {
        "Type": kind,
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-west-2:123456789012:MyTopic",
        "Subject": "Amazon S3 Notification",
        "Message": message,
        "Timestamp": "2012-05-02T00:54:06.655Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLEw6JRN...",
        "SigningCertURL": "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb72.pem",
        "SubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37",
    }


def eventbridge() -> Json:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html (Object created)."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2021-11-12T00:00:00Z",
        "region": "ca-central-1",
        "resources": ["arn:aws:s3:::amzn-s3-demo-bucket1"],
        "detail": {
            "version": "0",
            "bucket": {"name": "amzn-s3-demo-bucket1"},
            "object": {
                "key": "example-key",
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                "sequencer": "617f08299329d189",
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": "PutObject",
        },
    }


def gcs() -> Json:
    """https://cloud.google.com/storage/docs/json_api/v1/objects#resource, as the sample in testdata of
    googleapis/google-cloudevents (also ../shared/vectors/storage/gcs-binary.json)."""
    return {
        "bucket": "sample-bucket",
        "contentType": "text/plain",
        "etag": "CNHZkbuF/ugCEAE=",
        "generation": "1587627537231057",
        "id": "sample-bucket/folder/Test.cs/1587627537231057",
        "kind": "storage#object",
        "metageneration": "1",
        "name": "folder/Test.cs",
        "size": "352",
        "timeCreated": "2020-04-23T07:38:57.230Z",
        "updated": "2020-04-23T07:38:57.230Z",
    }


def gcs_headers() -> dict[str, str]:
    """https://cloud.google.com/eventarc/docs/cloudevents."""
    return {
        "ce-specversion": "1.0",
        "ce-type": "google.cloud.storage.object.v1.finalized",
        "ce-source": "//storage.googleapis.com/projects/_/buckets/sample-bucket",
        "ce-subject": "objects/folder/Test.cs",
        "ce-id": "1587627537231057",
        "ce-time": "2020-04-23T07:38:57.230Z",
        "content-type": "application/json",
    }


def pubsub(payload: Json | None = None, **attributes: str) -> Json:
    """https://cloud.google.com/storage/docs/pubsub-notifications (attributes),
    https://cloud.google.com/pubsub/docs/push (envelope)."""
    told = {
        "eventType": "OBJECT_FINALIZE",
        "payloadFormat": "JSON_API_V1" if payload else "NONE",
        "bucketId": "sample-bucket",
        "objectId": "folder/Test.cs",
        "objectGeneration": "1587627537231057",
        "notificationConfig": "projects/_/buckets/sample-bucket/notificationConfigs/3",
        "eventTime": "2020-04-23T07:38:57.230Z",
    }
    message: Json = {"attributes": told | attributes, "messageId": "2070443601311540"}
    message["publishTime"] = "2021-02-26T19:13:55.749Z"
    if payload:
        message["data"] = base64.b64encode(orjson.dumps(payload)).decode()
    return {"message": message, "subscription": "projects/myproject/subscriptions/mysubscription"}


def azure() -> Json:
    """https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage (CloudEvents' schema)."""
    return {
        "source": "/subscriptions/{subscription-id}/resourceGroups/Storage/providers/Microsoft.Storage"
        "/storageAccounts/my-storage-account",
        "subject": "/blobServices/default/containers/test-container/blobs/new-file.txt",
        "type": "Microsoft.Storage.BlobCreated",
        "time": "2017-06-26T18:41:00.9584103Z",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": {
            "api": "PutBlockList",
            "clientRequestId": "6d79dbfb-0e37-4fc4-981f-442c9ca65760",
            "requestId": "831e1650-001e-001b-66ab-eeb76e000000",
            "eTag": "0x8D4BCC2E4835CD0",
            "contentType": "text/plain",
            "contentLength": 524288,
            "blobType": "BlockBlob",
            "url": "https://my-storage-account.blob.core.windows.net/testcontainer/new-file.txt",
            "sequencer": "00000000000004420000000000028963",
            "storageDiagnostics": {"batchId": "b68529f3-68cd-4744-baa4-3c0498ec19f0"},
        },
        "specversion": "1.0",
    }


def azure_classic() -> Json:
    """The same page, Event Grid's own schema."""
    event = azure()
    event["topic"] = event.pop("source")
    event["eventType"] = event.pop("type")
    event["eventTime"] = event.pop("time")
    event["dataVersion"], event["metadataVersion"] = "", "1"
    del event["specversion"]
    return event


AZURE_VALIDATION: list[Json] = [
    # https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema
    {
        "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
        "topic": "/subscriptions/xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        "subject": "",
        "data": {
            "validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6",
            "validationUrl": "https://rp-eastus2.eventgrid.azure.net:553/eventsubscriptions/x/validate?id=1",
        },
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2022-10-28T04:23:35.1981776Z",
        "metadataVersion": "1",
        "dataVersion": "1",
    }
]

STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
BATCHED = {"content-type": "application/cloudevents-batch+json; charset=utf-8"}


Steps = tuple[int | str, ...]


def changed(document: Any, path: str | Steps, value: Any) -> Any:
    """A copy with one field set; `...` takes it out. The path is written as faults write it, or in steps."""
    document = copy.deepcopy(document)
    *way, last = path if isinstance(path, tuple) else _steps(path)
    place = document
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def _steps(path: str) -> Steps:
    steps = path.replace("]", "").replace("[", ".").split(".")
    return tuple(int(one) if one.isdecimal() else one for one in steps if one)
