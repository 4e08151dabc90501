import { readFileSync } from 'node:fs'
import t from 'tap'
import { commands } from '../../src/cli/commands.ts'
import { command, parse } from '../../src/cli/command-line.ts'
import { runCli, type Ran } from '../support/run-cli.ts'

const run = (...args: string[]): Promise<Ran> => runCli(args, '/nowhere')

await t.test('--help of every command: options, examples that are understood, exit codes', async (t) => {
  for (const each of commands) {
    const words = each.name.split(' ')
    const { code, out, err } = await run(...words, '--help')
    t.match({ code, err }, { code: 0, err: '' }, each.name)
    t.equal((await run('help', ...words)).out, out, `help ${each.name}`)
    t.equal((await run(...words, '-h', '--surplus')).out, out, `${each.name} -h wins over what is wrong`)
    for (const [name, { value }] of Object.entries(each.options)) {
      t.ok(out.includes(value === undefined ? `  --${name}` : `  --${name} ${value}  `), `${each.name} --${name}`)
    }
    for (const code of [0, 1, 2]) t.match(out, new RegExp(`\n  ${code}  \\S`), `${each.name}: exit code ${code}`)
    t.ok(each.examples.length > 0)
    for (const example of each.examples) {
      t.ok(example.startsWith(`sealgate ${each.name} `), example)
      t.doesNotThrow(() => parse(each, example.replace(/ >\S+$/, '').split(' ').slice(1 + words.length)), example)
    }
    t.ok(out.split('\n').every((line) => line.length <= 160))
  }
  for (const group of ['keys', 'config']) {
    t.match(await run(group, '--help'), { code: 0, out: new RegExp(`Usage: sealgate ${group} COMMAND`), err: '' })
    t.match(await run(group, 'help'), { code: 0, err: '' })
    t.match(await run(group), { code: 2, out: '', err: /No command is given/ })
    t.match(await run(group, 'nope'), { code: 2, out: '', err: new RegExp(`There is no command "${group} nope"`) })
  }
  const { out } = await run('--help')
  for (const { name, summary } of commands) t.ok(out.includes(`  ${name} `) && out.includes(summary), name)
})

await t.test('config example prints the example of the package', async (t) => {
  const { code, out, err } = await run('config', 'example')
  t.match({ code, err }, { code: 0, err: '' })
  t.equal(out, readFileSync(new URL('../../config/sealgate.example.yaml', import.meta.url), 'utf8'))
})

await t.test('every wrong command line: exit code 2, one line that says why, and where help is', async (t) => {
  for (
    const [args, why] of [
      [['gc', '--dryrun'], 'There is no option --dryrun.'],
      [['gc', '-x'], 'There is no option -x.'],
      [['gc', '--config'], '--config needs a value: --config FILE.'],
      [['gc', '--config='], '--config needs a value: --config FILE.'],
      [['gc', '--config', '--dry-run'], '--config needs a value: --config FILE, or --config=FILE.'],
      [['gc', '--dry-run=yes'], '--dry-run takes no value.'],
      [['gc', '--config', 'a', '--config', 'b'], '--config is given twice.'],
      [['gc', 'now'], '"now" is no option: this command takes options only.'],
      [['gc'], 'No configuration is named: give --config FILE or SEALGATE_CONFIG.'],
      [['gc', '--older-than-hours', '1'], '--older-than-hours must be a whole number of at least 24.'],
      [['rewrap'], '--bucket NAME must be given.'],
      [['rewrap', '--bucket', 'help', '--concurrency', '0'], '--concurrency must be a whole number from 1 to 1000.'],
      [['keys', 'usage', '--bucket', 'b', '--concurrency', '9999'], '--concurrency must be a whole number from 1 to 1000.'],
      [['config', 'check', '--bucket', 'b'], '--bucket needs --online.'],
      [['serve'], 'No configuration is named: give --config FILE or SEALGATE_CONFIG, or --trial for a set-up to try out.'],
      [['serve', '--__proto__'], 'There is no option --__proto__.']
    ] as const
  ) {
    const name = args[0] === 'keys' || args[0] === 'config' ? `${args[0]} ${args[1]}` : args[0]
    t.same(await run(...args), { code: 2, out: '', err: `sealgate ${name}: ${why}\n"sealgate ${name} --help" prints options and examples.\n` }, args.join(' '))
  }
})

await t.test('values', async (t) => {
  const probe = command({
    name: 'probe',
    summary: '',
    description: '',
    examples: [],
    options: { text: { value: 'X', help: '' }, flag: { help: '' } },
    run: async () => 0
  })
  t.same(parse(probe, []), { text: undefined, flag: false })
  t.same(parse(probe, ['--flag', '--text', 'a']), { text: 'a', flag: true })
  t.same(parse(probe, ['--text=-a=b']), { text: '-a=b', flag: false })
  t.throws(() => parse(probe, ['--', 'x']), /"x" is no option/)
})
