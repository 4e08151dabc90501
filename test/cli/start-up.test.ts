import t from 'tap'
import { openLog } from '../../src/cli/start-up.ts'
import { parseConfig } from '../../src/config/load.ts'

async function lines(format: string, isTTY: boolean, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const config = parseConfig(
    JSON.stringify({
      upstream: { endpoint: 'http://127.0.0.1:1', accessKeyId: 'a', secretAccessKey: 'b' },
      clients: [{ accessKeyId: 'c', secretAccessKey: 'd' }],
      keys: { m: { type: 'local', keyring: 'k' } },
      log: { format }
    }),
    { file: '/x', env: {} }
  )
  let text = ''
  const log = await openLog(config, {
    args: [],
    env,
    cwd: '/',
    stdout: { write: () => undefined, isTTY },
    stderr: { write: () => undefined },
    onSignal: () => undefined,
    writeLog: (line) => {
      text += line
    }
  })
  log.event('warn', 'told', { userAgent: 'evil\u001b[31m\u009b31m\u007f\n', bytes: 7 })
  return text
}

await t.test('auto: for people on a terminal, JSON elsewhere; json and pretty force either', async (t) => {
  for (const [format, isTTY] of [['auto', false], ['json', true], ['json', false]] as const) {
    t.match(JSON.parse(await lines(format, isTTY)), { level: 'warn', msg: 'told', bytes: 7 }, `${format}, terminal: ${String(isTTY)}`)
  }
  for (const [format, isTTY] of [['auto', true], ['pretty', true], ['pretty', false]] as const) {
    t.match(await lines(format, isTTY), /^\[\d\d:\d\d:\d\d\.\d{3}\] .*WARN.*told.*"bytes":7/, `${format}, terminal: ${String(isTTY)}`)
  }
})

await t.test('colours only on a terminal without NO_COLOR, and control characters of clients never', async (t) => {
  t.match(await lines('auto', true), /\u001b\[33mWARN/)
  for (const text of [await lines('auto', true, { NO_COLOR: '1' }), await lines('pretty', false)]) {
    t.notMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
    t.match(text, /evil\\u001b\[31m\\u009b31m\\u007f\\n/)
    t.equal(text.split('\n').length, 2, 'one line')
  }
})
