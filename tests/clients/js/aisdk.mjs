// The AI SDK, with each of its providers.
export const clients = {
  "ai-openai": () => model("ai", "@ai-sdk/openai", openai),
  "ai-openai-chat": () => model("ai", "@ai-sdk/openai", openaiChat),
  "ai-compatible": () => model("ai", "@ai-sdk/openai-compatible", compatible),
  "ai-anthropic": () => model("ai", "@ai-sdk/anthropic", anthropic),
  "ai-google": () => model("ai", "@ai-sdk/google", google),
  "ai-openai-before": () => model("ai-before", "ai-sdk-openai-before", openai),
  "ai-openai-chat-before": () => model("ai-before", "ai-sdk-openai-before", openaiChat),
  "ai-compatible-before": () => model("ai-before", "ai-sdk-openai-compatible-before", compatible),
  "ai-anthropic-before": () => model("ai-before", "ai-sdk-anthropic-before", anthropic),
  "ai-google-before": () => model("ai-before", "ai-sdk-google-before", google),
};

const openai = ({ createOpenAI }, { url, model: name }) => createOpenAI({ baseURL: url + "/v1", apiKey: "x" })(name);
const openaiChat = ({ createOpenAI }, { url, model: name }) =>
  createOpenAI({ baseURL: url + "/v1", apiKey: "x" }).chat(name);
const compatible = ({ createOpenAICompatible }, { url, model: name }) =>
  createOpenAICompatible({ name: "lab", baseURL: url + "/v1", apiKey: "x", includeUsage: true, supportsStructuredOutputs: true })(name);
const anthropic = ({ createAnthropic }, { url, model: name }) => createAnthropic({ baseURL: url + "/v1", apiKey: "x" })(name);
const google = ({ createGoogleGenerativeAI }, { url, model: name }) =>
  createGoogleGenerativeAI({ baseURL: url + "/v1beta", apiKey: "x" })(name);

async function model(sdk, library, make) {
  const { generateText, streamText, Output, jsonSchema, tool } = await import(sdk);
  const provider = await import(library);
  const base = (asked) => ({ model: make(provider, asked), maxRetries: 0 });
  const told = (answer) => ({
    text: answer.text,
    finish: answer.finishReason,
    usage: [answer.usage.inputTokens, answer.usage.outputTokens],
  });
  return {
    oneshot: async (asked) => told(await generateText({ ...base(asked), prompt: "Hi" })),
    stream: async (asked) => {
      const answer = streamText({ ...base(asked), prompt: "Hi" });
      let text = "";
      for await (const piece of answer.textStream) text += piece;
      const usage = await answer.usage;
      return { text, finish: await answer.finishReason, usage: [usage.inputTokens, usage.outputTokens] };
    },
    tools: async (asked) => {
      const tools = { weather: tool({ description: "", inputSchema: jsonSchema(asked.parameters) }) };
      const first = await generateText({ ...base(asked), prompt: "Hi", tools });
      const results = first.toolCalls.map((call, at) => ({
        type: "tool-result",
        toolCallId: call.toolCallId,
        toolName: call.toolName,
        output: { type: "text", value: asked.results[at] },
      }));
      const messages = [
        { role: "user", content: "Hi" },
        ...first.response.messages,
        { role: "tool", content: results },
      ];
      const last = await generateText({ ...base(asked), messages, tools });
      return { calls: first.toolCalls.map((call) => [call.toolName, call.input]), text: last.text };
    },
    structured: async (asked) => {
      const output = Output.object({ schema: jsonSchema(asked.schema) });
      return (await generateText({ ...base(asked), prompt: "Who?", output })).output;
    },
    image: async (asked) => {
      const content = [
        { type: "text", text: "What is it?" },
        { type: "image", image: asked.pixel, mediaType: "image/png" },
      ];
      return told(await generateText({ ...base(asked), messages: [{ role: "user", content }] }));
    },
    error: async (asked) => await generateText({ ...base(asked), prompt: "Hi" }),
    cut: async (asked) => {
      let failure = null;
      let text = "";
      const answer = streamText({ ...base(asked), prompt: "Hi", onError: ({ error }) => (failure = error) });
      for await (const piece of answer.textStream) text += piece;
      if (failure) throw failure;
      return { text, finish: await answer.finishReason };
    },
    cancel: async (asked) => {
      const leave = new AbortController();
      const answer = streamText({ ...base(asked), prompt: "Hi", abortSignal: leave.signal, onError: () => {} });
      for await (const piece of answer.textStream) {
        if (piece) break;
      }
      leave.abort();
      return {};
    },
  };
}
