// OpenAI's own client: chat completions and responses.
export const clients = {
  openai: () => chat("openai"),
  "openai-before": () => chat("openai-before"),
  "openai-responses": () => responses("openai"),
  "openai-responses-before": () => responses("openai-before"),
};

async function made(library, { url }) {
  const { default: OpenAI } = await import(library);
  return new OpenAI({ baseURL: url + "/v1", apiKey: "x", maxRetries: 0 });
}

const HI = [{ role: "user", content: "Hi" }];

async function chat(library) {
  const create = async (asked, more) =>
    (await made(library, asked)).chat.completions.create({ model: asked.model, messages: HI, ...more });
  const told = (answer) => ({
    text: answer.choices[0].message.content,
    finish: answer.choices[0].finish_reason,
    usage: [answer.usage.prompt_tokens, answer.usage.completion_tokens],
  });
  return {
    oneshot: async (asked) => told(await create(asked)),
    stream: async (asked) => {
      let text = "";
      let finish = null;
      let usage = null;
      const options = { stream: true, stream_options: { include_usage: true } };
      for await (const chunk of await create(asked, options)) {
        text += chunk.choices[0]?.delta.content ?? "";
        finish = chunk.choices[0]?.finish_reason ?? finish;
        usage = chunk.usage ?? usage;
      }
      return { text, finish, usage: [usage.prompt_tokens, usage.completion_tokens] };
    },
    tools: async (asked) => {
      const tools = [{ type: "function", function: { name: "weather", parameters: asked.parameters } }];
      const client = await made(library, asked);
      const first = await client.chat.completions
        .stream({ model: asked.model, messages: HI, tools })
        .finalChatCompletion();
      const message = first.choices[0].message;
      const results = message.tool_calls.map((call, at) => ({
        role: "tool",
        tool_call_id: call.id,
        content: asked.results[at],
      }));
      const turn = { role: "assistant", content: null, tool_calls: message.tool_calls };
      const last = await create(asked, { messages: [...HI, turn, ...results], tools });
      return {
        calls: message.tool_calls.map(({ function: { name, arguments: text } }) => [name, JSON.parse(text)]),
        text: last.choices[0].message.content,
      };
    },
    structured: async (asked) => {
      const response_format = {
        type: "json_schema",
        json_schema: { name: "person", schema: asked.schema, strict: true },
      };
      return JSON.parse((await create(asked, { response_format })).choices[0].message.content);
    },
    image: async (asked) => {
      const image_url = { url: `data:image/png;base64,${asked.pixel}` };
      const content = [{ type: "text", text: "What is it?" }, { type: "image_url", image_url }];
      return told(await create(asked, { messages: [{ role: "user", content }] }));
    },
    error: async (asked) => await create(asked),
    cut: async (asked) => {
      let text = "";
      for await (const chunk of await create(asked, { stream: true })) {
        text += chunk.choices[0]?.delta.content ?? "";
      }
      return { text };
    },
    cancel: async (asked) => {
      const stream = await create(asked, { stream: true });
      for await (const chunk of stream) {
        if (chunk.choices[0]?.delta.content) break;
      }
      stream.controller.abort();
      return {};
    },
    models: async (asked) => {
      const names = [];
      for await (const model of (await made(library, asked)).models.list()) names.push(model.id);
      return names;
    },
  };
}

async function responses(library) {
  const create = async (asked, more) =>
    (await made(library, asked)).responses.create({ model: asked.model, input: "Hi", ...more });
  const told = (answer) => ({
    text: answer.output_text,
    finish: answer.status,
    usage: [answer.usage.input_tokens, answer.usage.output_tokens],
  });
  return {
    oneshot: async (asked) => told(await create(asked)),
    stream: async (asked) => {
      let text = "";
      let last = null;
      for await (const event of await create(asked, { stream: true })) {
        if (event.type === "response.output_text.delta") text += event.delta;
        if (event.type === "response.completed") last = event.response;
      }
      return { text, finish: last.status, usage: [last.usage.input_tokens, last.usage.output_tokens] };
    },
    tools: async (asked) => {
      const tools = [{ type: "function", name: "weather", parameters: asked.parameters, strict: false }];
      const client = await made(library, asked);
      const first = await client.responses.stream({ model: asked.model, input: "Hi", tools }).finalResponse();
      const calls = first.output.filter((item) => item.type === "function_call");
      const results = calls.map((call, at) => ({
        type: "function_call_output",
        call_id: call.call_id,
        output: asked.results[at],
      }));
      const input = [{ role: "user", content: "Hi" }, ...first.output, ...results];
      const last = await create(asked, { input, tools });
      return { calls: calls.map((call) => [call.name, JSON.parse(call.arguments)]), text: last.output_text };
    },
    structured: async (asked) => {
      const format = { type: "json_schema", name: "person", schema: asked.schema, strict: true };
      return JSON.parse((await create(asked, { text: { format } })).output_text);
    },
    image: async (asked) => {
      const picture = { type: "input_image", image_url: `data:image/png;base64,${asked.pixel}`, detail: "low" };
      const content = [{ type: "input_text", text: "What is it?" }, picture];
      return told(await create(asked, { input: [{ role: "user", content }] }));
    },
    error: async (asked) => await create(asked),
    cancel: async (asked) => {
      const stream = await create(asked, { stream: true });
      for await (const event of stream) {
        if (event.type === "response.output_text.delta") break;
      }
      stream.controller.abort();
      return {};
    },
  };
}
