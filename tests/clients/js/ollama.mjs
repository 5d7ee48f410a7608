// Ollama's own client.
export const clients = {
  ollama: () => chat("ollama"),
  "ollama-before": () => chat("ollama-before"),
};

const HI = [{ role: "user", content: "Hi" }];

async function chat(library) {
  const { Ollama } = await import(library);
  const made = ({ url }) => new Ollama({ host: url });
  const create = (asked, more) => made(asked).chat({ model: asked.model, messages: HI, ...more });
  const told = (answer) => ({
    text: answer.message.content,
    finish: answer.done_reason,
    usage: [answer.prompt_eval_count, answer.eval_count],
  });
  return {
    oneshot: async (asked) => told(await create(asked)),
    stream: async (asked) => {
      let text = "";
      let last = null;
      for await (const part of await create(asked, { stream: true })) {
        text += part.message.content;
        last = part;
      }
      return { ...told(last), text };
    },
    tools: async (asked) => {
      const tools = [{ type: "function", function: { name: "weather", description: "", parameters: asked.parameters } }];
      const first = await create(asked, { tools });
      const calls = first.message.tool_calls;
      const results = calls.map((call, at) => ({
        role: "tool",
        tool_name: call.function.name,
        content: asked.results[at],
      }));
      const last = await create(asked, { messages: [...HI, first.message, ...results], tools });
      return {
        calls: calls.map(({ function: { name, arguments: given } }) => [name, given]),
        text: last.message.content,
      };
    },
    structured: async (asked) => JSON.parse((await create(asked, { format: asked.schema })).message.content),
    image: async (asked) =>
      told(await create(asked, { messages: [{ role: "user", content: "What is it?", images: [asked.pixel] }] })),
    error: async (asked) => await create(asked),
    cut: async (asked) => {
      let text = "";
      for await (const part of await create(asked, { stream: true })) text += part.message.content;
      return { text };
    },
    cancel: async (asked) => {
      const stream = await create(asked, { stream: true });
      for await (const part of stream) {
        if (part.message.content) break;
      }
      stream.abort();
      return {};
    },
    models: async (asked) => (await made(asked).list()).models.map((model) => model.name),
  };
}
