// Anthropic's own client.
export const clients = {
  anthropic: () => messages("@anthropic-ai/sdk"),
  "anthropic-before": () => messages("anthropic-before"),
};

const HI = [{ role: "user", content: "Hi" }];

async function messages(library) {
  const { default: Anthropic } = await import(library);
  const made = ({ url }) => new Anthropic({ baseURL: url, apiKey: "x", maxRetries: 0 });
  const create = (asked, more) =>
    made(asked).messages.create({ model: asked.model, max_tokens: 100, messages: HI, ...more });
  const text = (answer) => answer.content.map((block) => block.text ?? "").join("");
  const told = (answer) => ({
    text: text(answer),
    finish: answer.stop_reason,
    usage: [answer.usage.input_tokens, answer.usage.output_tokens],
  });
  return {
    oneshot: async (asked) => told(await create(asked)),
    stream: async (asked) =>
      told(await made(asked).messages.stream({ model: asked.model, max_tokens: 100, messages: HI }).finalMessage()),
    tools: async (asked) => {
      const tools = [{ name: "weather", input_schema: asked.parameters }];
      const question = { model: asked.model, max_tokens: 100, messages: HI, tools };
      const first = await made(asked).messages.stream(question).finalMessage();
      const calls = first.content.filter((block) => block.type === "tool_use");
      const results = calls.map((call, at) => ({
        type: "tool_result",
        tool_use_id: call.id,
        content: asked.results[at],
      }));
      const turns = [...HI, { role: "assistant", content: first.content }, { role: "user", content: results }];
      const last = await create(asked, { messages: turns, tools });
      return { calls: calls.map((call) => [call.name, call.input]), text: text(last) };
    },
    structured: async (asked) => {
      const output_config = { format: { type: "json_schema", schema: asked.schema } };
      return JSON.parse(text(await create(asked, { output_config })));
    },
    image: async (asked) => {
      const source = { type: "base64", media_type: "image/png", data: asked.pixel };
      const content = [{ type: "image", source }, { type: "text", text: "What is it?" }];
      return told(await create(asked, { messages: [{ role: "user", content }] }));
    },
    error: async (asked) => await create(asked),
    cut: async (asked) => told(await made(asked).messages.stream({ model: asked.model, max_tokens: 9, messages: HI }).finalMessage()),
    cancel: async (asked) => {
      const stream = await create(asked, { stream: true });
      for await (const event of stream) {
        if (event.type === "content_block_delta") break;
      }
      stream.controller.abort();
      return {};
    },
    models: async (asked) => {
      const names = [];
      for await (const model of made(asked).models.list()) names.push(model.id);
      return names;
    },
  };
}
