"""What a machine of Amazon's asks for the keys of its role, version 2 of the protocol.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html
"""

from aiohttp import web

from servers.http_api import HttpApi

TOKEN = "X-aws-ec2-metadata-token"
ROLES = "/latest/meta-data/iam/security-credentials/"


class MetadataService(HttpApi):
    """`keys`: (access key, secret key) of the role; None: the machine has no role."""

    def __init__(self, keys):
        super().__init__()
        self.keys = keys

    def routes(self):
        return [
            web.put("/latest/api/token", self._token),
            web.get(ROLES, self._roles),
            web.get(f"{ROLES}reader", self._keys),
        ]

    async def stopped(self, request):
        if request.method == "GET" and request.headers.get(TOKEN) != self.token:
            return self.refusal(401, "Unauthorized", "no token")
        return None

    async def _token(self, _request):
        return web.Response(text=self.token)

    async def _roles(self, _request):
        return web.Response(text="reader") if self.keys else web.Response(status=404)

    async def _keys(self, _request):
        access_key, secret_key = self.keys
        return web.json_response(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "AccessKeyId": access_key,
                "SecretAccessKey": secret_key,
                "Token": "of the session",
                "LastUpdated": "2026-01-01T00:00:00Z",
                "Expiration": "2099-01-01T00:00:00Z",
            }
        )
