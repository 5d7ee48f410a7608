// Google's own client.
export const clients = {
  genai: () => content("@google/genai"),
  "genai-before": () => content("genai-before"),
};

async function content(library) {
  const { GoogleGenAI } = await import(library);
  const made = ({ url }) => new GoogleGenAI({ apiKey: "x", httpOptions: { baseUrl: url } });
  const create = (asked, config = {}, contents = "Hi") =>
    made(asked).models.generateContent({ model: asked.model, contents, config });
  const told = (answer) => ({
    text: answer.text,
    finish: answer.candidates[0].finishReason,
    usage: [answer.usageMetadata.promptTokenCount, answer.usageMetadata.candidatesTokenCount],
  });
  return {
    oneshot: async (asked) => told(await create(asked)),
    stream: async (asked) => {
      let text = "";
      let last = null;
      const stream = await made(asked).models.generateContentStream({ model: asked.model, contents: "Hi" });
      for await (const chunk of stream) {
        text += chunk.text ?? "";
        last = chunk;
      }
      return { ...told(last), text };
    },
    tools: async (asked) => {
      const tools = [{ functionDeclarations: [{ name: "weather", parametersJsonSchema: asked.parameters }] }];
      const first = await create(asked, { tools });
      const calls = first.functionCalls;
      const results = calls.map((call, at) => ({
        functionResponse: { id: call.id, name: call.name, response: { output: asked.results[at] } },
      }));
      const turns = [
        { role: "user", parts: [{ text: "Hi" }] },
        first.candidates[0].content,
        { role: "user", parts: results },
      ];
      const last = await create(asked, { tools }, turns);
      return { calls: calls.map((call) => [call.name, call.args]), text: last.text };
    },
    structured: async (asked) =>
      JSON.parse(
        (await create(asked, { responseMimeType: "application/json", responseJsonSchema: asked.schema })).text,
      ),
    image: async (asked) => {
      const parts = [{ inlineData: { mimeType: "image/png", data: asked.pixel } }, { text: "What is it?" }];
      return told(await create(asked, {}, [{ role: "user", parts }]));
    },
    error: async (asked) => await create(asked),
    cancel: async (asked) => {
      const leave = new AbortController();
      const config = { abortSignal: leave.signal };
      const stream = await made(asked).models.generateContentStream({ model: asked.model, contents: "Hi", config });
      for await (const chunk of stream) {
        if (chunk.text) break;
      }
      leave.abort();
      return {};
    },
    models: async (asked) => {
      const names = [];
      for await (const model of await made(asked).models.list()) names.push(model.name);
      return names;
    },
  };
}
