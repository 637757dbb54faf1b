"""RegistryTable as the authorizer sees it: one attribute of a store, read without the models of the rest.

Apart from `registry` because the authorizer stands before every call: it does not wait for pydantic.
"""

from typing import TYPE_CHECKING

from checkout_recovery.tables.driver import driver_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

STORE = "store"
"""The sort key of a store's own item."""


class TokenHashes:
    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self._client = client
        self._table = table_name

    def of_store(self, store_id: str) -> str | None:
        """Returns the hash of a store's token; None where there is no such store.

        Raises:
            Unavailable: DynamoDB is throttled or down.
        """
        with driver_errors():
            answer = self._client.get_item(
                TableName=self._table,
                Key={"store_id": {"S": store_id}, "kind_id": {"S": STORE}},
                ProjectionExpression="token_hash",
                ConsistentRead=True,
            )
        return answer["Item"]["token_hash"]["S"] if "Item" in answer else None
