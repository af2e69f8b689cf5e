"""Stand-in for Grafana where its image is unavailable: checks the mounts and the connection that Grafana needs, and
responds to its health check. It renders nothing."""

import glob
import http.server
import json
import os
import urllib.parse
import urllib.request

REQUIRED = ["GF_SECURITY_ADMIN_PASSWORD", "INFLUXDB_HOST", "INFLUXDB_BUCKET", "GRAFANA_INFLUXDB_AUTHORIZATION"]


def dashboards():
    found = {}
    for path in glob.glob("/etc/grafana/dashboards/*.json"):
        with open(path, encoding="utf-8") as file:
            found[os.path.basename(path)] = len(json.load(file)["panels"])
    return found


def measurements():
    query = urllib.parse.urlencode({"db": os.environ["INFLUXDB_BUCKET"], "q": "SHOW MEASUREMENTS"}).encode()
    request = urllib.request.Request(os.environ["INFLUXDB_HOST"] + "/query", data=query)
    request.add_header("Authorization", os.environ["GRAFANA_INFLUXDB_AUTHORIZATION"])
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            missing = [name for name in REQUIRED if not os.environ.get(name)]
            home = os.environ["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
            provisioned = glob.glob("/etc/grafana/provisioning/*/*.yaml")
            assert not missing, f"not set: {missing}"
            assert os.path.exists(home) and len(provisioned) >= 3, (home, provisioned)
            body = {"database": "ok", "dashboards": dashboards(), "influxdb": measurements()}
            status = 200
        except Exception as error:  # any error is the response
            body, status = {"database": "failing", "message": str(error)}, 503
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("0.0.0.0", 3000), Door).serve_forever()
