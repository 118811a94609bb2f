// A client made of openapi/usage-engine.yaml by openapi-typescript: from a token to a meter that moves.

import { setTimeout } from "node:timers/promises";
import createClient from "openapi-fetch";
import { AUDIENCE, BASE_URL, CLIENT_ID, CLIENT_SECRET, COLLECTOR_ID, good, METER_KEY, same } from "./tour.js";
import type { components, paths } from "./usage-engine-api.js";

const stranger = createClient<paths>({ baseUrl: BASE_URL! });
const token = good(
  "create access token",
  await stranger.POST("/authentication/v1/oauth/token", {
    body: {
      audience: AUDIENCE!,
      client_id: CLIENT_ID!,
      client_secret: CLIENT_SECRET!,
      grant_type: "client_credentials",
    },
  }),
);
const client = createClient<paths>({ baseUrl: BASE_URL!, headers: { Authorization: `Bearer ${token.access_token}` } });

const wanted: components["schemas"]["MeterTypeCreate"] = {
  name: "Generated",
  unit: "requests",
  aggregation: { type: "sum" },
  timezone: "Europe/Berlin",
  resetSchedule: { minute: "0", hour: "0", day: "L", month: "*", weekday: "*" },
};
const meterType = good("create meter type", await client.POST("/usage-metering/v1/meter-types", { body: wanted }));
const meter = good(
  "create meter",
  await client.POST("/usage-metering/v1/meters", {
    body: { meterTypeId: meterType.id, meterKey: METER_KEY!, userId: "generated" },
  }),
);
same("its value", meter.value, 0);

for (const value of [1, 2.5]) {
  good(
    "send data",
    await client.POST("/online-collection/v1/collectors/{id}/send", {
      params: { path: { id: COLLECTOR_ID! } },
      body: { data: { userId: "generated", value } },
    }),
  );
}
let moved = meter;
for (let tries = 0; tries < 300 && moved.value !== 3.5; tries++) {
  await setTimeout(200);
  const got = await client.GET("/usage-metering/v1/meters/{id}", { params: { path: { id: meter.id } } });
  moved = got.data ?? moved;
}
same("the meter has moved", moved.value, 3.5);

const listed = good(
  "list meters",
  await client.GET("/usage-metering/v1/meters", { params: { query: { userId: "generated", limit: "10" } } }),
);
same("it is the only one", listed.meters.map((one) => one.id), [meter.id]);
const refused = await client.GET("/usage-metering/v1/meters/{id}", {
  params: { path: { id: "645ed240-02b5-400c-9a3c-21857e8f2ac4" } },
});
same("an error", [refused.response.status, refused.error?.statusCode], [404, 404]);
good("delete meter", await client.DELETE("/usage-metering/v1/meters/{id}", { params: { path: { id: meter.id } } }));
