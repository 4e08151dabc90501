// Headless Chromium over its DevTools protocol: one tab, driven by a script.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: Record<string, unknown>
  readonly result?: Record<string, unknown>
  readonly error?: { readonly message: string }
  readonly sessionId?: string
}

export interface Look {
  readonly scheme: 'light' | 'dark'
  readonly width: number
}

export class Tab {
  /** Addresses that the browser has asked for. */
  readonly requested: string[] = []
  /** What the browser complains of: refused styles and scripts, errors. */
  readonly complaints: string[] = []
  readonly #browser: ChildProcess
  readonly #profile: string
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, PromiseWithResolvers<Record<string, unknown>>>()
  #loaded = Promise.withResolvers<undefined>()
  #session = ''
  #count = 0

  private constructor(browser: ChildProcess, profile: string, socket: WebSocket) {
    this.#browser = browser
    this.#profile = profile
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => {
      this.#hear(JSON.parse(String(data)) as Message)
    })
  }

  static async open(chromium: string): Promise<Tab> {
    const profile = await mkdtemp(join(tmpdir(), 'sealgate-chromium-'))
    const browser = spawn(chromium, [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--hide-scrollbars',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`
    ], { stdio: ['ignore', 'ignore', 'pipe'] })
    let address = ''
    for await (const line of createInterface({ input: browser.stderr })) {
      address = /^DevTools listening on (ws:.*)$/.exec(line)?.[1] ?? ''
      if (address !== '') break
    }
    browser.stderr.resume()
    const socket = new WebSocket(address)
    await once(socket, 'open')
    const tab = new Tab(browser, profile, socket)
    const { targetId } = await tab.#send('Target.createTarget', { url: 'about:blank' })
    tab.#session = String((await tab.#send('Target.attachToTarget', { targetId, flatten: true }))['sessionId'])
    for (const domain of ['Page', 'Network', 'Log', 'Runtime']) await tab.#send(`${domain}.enable`)
    return tab
  }

  /** Loads an address, and waits until the browser has loaded all of it. */
  async load(url: string): Promise<void> {
    this.#loaded = Promise.withResolvers()
    await this.#send('Page.navigate', { url })
    await this.#loaded.promise
  }

  async look({ scheme, width }: Look): Promise<void> {
    await this.#send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] })
    await this.#send('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: width < 600 })
  }

  /** Whether pages may run scripts: evaluate works in either case. */
  async scripts(allowed: boolean): Promise<void> {
    await this.#send('Emulation.setScriptExecutionDisabled', { value: !allowed })
  }

  /** The value of an expression in the page, as JSON has it. Not bound by the page's Content-Security-Policy. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails).slice(0, 500))
    return (result as { value: T }).value
  }

  /** Of the page from its head on. @param height in pixels; absent: the whole page, also what is below the window */
  async screenshot(path: string, height?: number): Promise<void> {
    const width = await this.evaluate<number>('innerWidth')
    const clip = height === undefined ? {} : { clip: { x: 0, y: 0, width, height, scale: 1 } }
    const { data } = await this.#send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true, ...clip })
    await writeFile(path, Buffer.from(String(data), 'base64'))
  }

  async close(): Promise<void> {
    const exited = once(this.#browser, 'exit')
    this.#browser.kill()
    await exited
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 })
  }

  #hear({ id, method, params, result, error }: Message): void {
    if (method === 'Page.loadEventFired') this.#loaded.resolve(undefined)
    if (method === 'Network.requestWillBeSent') this.requested.push((params?.['request'] as { readonly url: string } | undefined)?.url ?? '')
    if (method === 'Log.entryAdded') this.complaints.push((params?.['entry'] as { readonly text: string } | undefined)?.text ?? '')
    if (method === 'Runtime.exceptionThrown') this.complaints.push(JSON.stringify(params).slice(0, 300))
    const waiting = this.#waiting.get(id ?? -1)
    if (error !== undefined) waiting?.reject(new Error(error.message))
    else waiting?.resolve(result ?? {})
  }

  async #send(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    this.#count += 1
    const id = this.#count
    const waiting = Promise.withResolvers<Record<string, unknown>>()
    this.#waiting.set(id, waiting)
    this.#socket.send(JSON.stringify({ id, method, params, ...this.#session === '' ? {} : { sessionId: this.#session } }))
    try {
      return await waiting.promise
    } finally {
      this.#waiting.delete(id)
    }
  }
}
