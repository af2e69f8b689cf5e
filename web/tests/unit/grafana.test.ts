import { expect, test } from "vitest";
import { dashboard } from "../../src/grafana";

test("the dashboard has the device, whatever its name, and the range", () => {
  expect(dashboard("http://g:3000", "vm:/ & 100%", { minutes: 60 })).toBe("http://g:3000/d/spindle-device?var-SourceDevice=vm%3A%2F%20%26%20100%25&from=now-60m&to=now");
  expect(dashboard("https://h/grafana", "d", { from: 1000, until: 2000 })).toBe("https://h/grafana/d/spindle-device?var-SourceDevice=d&from=1000&to=2000");
});
