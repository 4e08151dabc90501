// The root file system that the Dockerfile makes, without a container engine: its build stage in a mount namespace over this machine's Debian, its last
// stage as a folder. The base images are not there: Node is the one of this checkout, the libraries are those of this machine. Needs root.
import { execFileSync } from 'node:child_process'
import { chownSync, cpSync, existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')

export function run(program: string, args: readonly string[], more: { readonly input?: string } = {}): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'], maxBuffer: 64 * 1024 * 1024, ...more })
}

interface Instruction {
  readonly word: string
  readonly rest: string
}

const stages: Instruction[][] = []
for (const line of readFileSync(join(root, 'Dockerfile'), 'utf8').split('\n')) {
  const [, word = '', rest = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? []
  if (word === 'FROM') stages.push([])
  if (word !== '') stages.at(-1)?.push({ word, rest })
}
const [building = [], lastStage = []] = stages
/** The instructions of the last stage. */
export const image: readonly Instruction[] = lastStage
/** What the image says last of all about one thing. */
export const last = (word: string): string => image.findLast((each) => each.word === word)?.rest ?? ''
export const json = (text: string): string[] => JSON.parse(text) as string[]

/** The build stage: its folders over this machine's, its Node, with its headers, in the place where the base image has them. */
function build(work: string): string {
  const at = join(work, 'build')
  const folders = ['build', 'app', 'state']
  for (const folder of folders) mkdirSync(join(at, folder), { recursive: true })
  const binds = folders.map((folder) => `mkdir -p /${folder} && mount --bind ${join(at, folder)} /${folder}`)
  const over = 'mount -t tmpfs none /mnt && mkdir /mnt/up /mnt/w && mount -t overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/w none /mnt'
  const node = join(root, 'node_modules', 'node', 'bin', 'node')
  const [headers = ''] = globSync('node_modules/node/node_modules/*/include/node', { cwd: root }).map((path) => join(root, path))
  let folder = '/'
  for (const { word, rest } of building) {
    if (word === 'WORKDIR') folder = rest
    if (word === 'COPY') {
      const paths = rest.split(' ')
      const target = paths.pop() ?? ''
      for (const path of paths) cpSync(join(root, path), target.endsWith('/') ? join(at, folder, target, path) : join(at, folder, target), { recursive: true })
    }
    if (word === 'RUN') {
      const npm = dirname(run('readlink', ['-f', '/usr/bin/npm']).trim())
      const script = [
        ...binds,
        `mkdir -p /usr/local/bin && mount -t tmpfs none /usr/local/bin && cp ${node} /usr/local/bin/node`,
        `mount -t tmpfs none /usr/local/include && cp -r ${headers} /usr/local/include/node`,
        `printf '#!/bin/sh\\nexec /usr/local/bin/node ${npm}/npm-cli.js "$@"\\n' >/usr/local/bin/npm && chmod +x /usr/local/bin/npm`,
        // As the base image has it: the programs of a checkout are not there.
        'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        `cd ${folder}`,
        rest
      ]
      run('unshare', ['--mount', 'sh', '-ec', script.join('\n'), over])
    }
  }
  return at
}

/** The last stage: libraries as its base has them, and what is copied. */
function assemble(work: string, built: string): string {
  const at = join(work, 'rootfs')
  mkdirSync(at)
  const node = join(root, 'node_modules', 'node', 'bin', 'node')
  const libraries = run('dpkg', ['-L', 'libc6', 'libgcc-s1', 'libstdc++6']).split('\n').filter((path) =>
    /^(\/usr)?\/lib(64)?(\/[^/]+)?\/[^/]+\.so(\.|$)/.test(path) && existsSync(path)
  )
  run('cp', ['-L', '--parents', ...libraries, at])
  for (const folder of ['etc', 'proc', 'dev', 'tmp', 'etc/sealgate']) mkdirSync(join(at, folder), { recursive: true })
  writeFileSync(join(at, 'etc/passwd'), 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n')
  writeFileSync(join(at, 'etc/nsswitch.conf'), 'hosts: files dns\n')
  writeFileSync(join(at, 'etc/hosts'), '')
  writeFileSync(join(at, 'etc/sealgate/sealgate.yaml'), '')
  for (const { rest } of image.filter(({ word }) => word === 'COPY')) {
    const [from = '', to = ''] = rest.split(' ').filter((part) => !part.startsWith('--'))
    const source = from === '/usr/local/bin/node' ? node : join(built, from)
    run('sh', [
      '-ec',
      `mkdir -p "$(dirname ${join(at, to)})" && if [ -d ${source} ]; then mkdir -p ${join(at, to)} && cp -a ${source}/. ${join(at, to)}/; else cp ${source} ${
        join(at, to)
      }; fi`
    ])
  }
  // What --chown of the Dockerfile says.
  chownSync(join(at, 'var/lib/sealgate'), 65532, 65532)
  return at
}

/** Makes the root file system in a folder of `work`, and returns its path. */
export function imageRoot(work: string): string {
  return assemble(work, build(work))
}

interface Inside {
  readonly rootfs: string
  /** An empty folder: where the root of the process is mounted. */
  readonly at: string
  readonly mounts: readonly { readonly from: string; readonly to: string; readonly readOnly?: boolean }[]
  readonly environment: Readonly<Record<string, string>>
  readonly args: readonly string[]
}

/** The command that starts a process as an engine would: as the image's user, first of its namespace, read-only root, no capability, no new privileges. */
export function inImage({ rootfs, at, mounts, environment, args }: Inside): string[] {
  const variables = [
    ...image.filter(({ word }) => word === 'ENV').map(({ rest }) => rest),
    ...Object.entries(environment).map(([key, value]) => `${key}=${value}`)
  ]
  const script = [
    `mount --bind ${rootfs} ${at} && mount -o remount,ro,bind ${at}`,
    `mount -t proc proc ${at}/proc && mount -t tmpfs -o mode=755 none ${at}/dev`,
    ...['null', 'zero', 'random', 'urandom'].map((device) => `touch ${at}/dev/${device} && mount --bind /dev/${device} ${at}/dev/${device}`),
    ...mounts.map(({ from, to, readOnly }) => `mount --bind ${from} ${at}${to}${readOnly === true ? ` && mount -o remount,ro,bind ${at}${to}` : ''}`),
    'ulimit -c 0',
    `exec env -i ${variables.map((each) => `'${each}'`).join(' ')} /usr/bin/unshare --root=${at} --wd=${last('WORKDIR')} --setgid 65532 --setuid 65532 "$@"`
  ]
  const spaces = ['setpriv', '--no-new-privs', 'unshare', '--mount', '--pid', '--fork', '--kill-child', '--ipc', '--uts']
  return [...spaces, 'sh', '-ec', script.join('\n'), 'sh', ...args]
}

/** The last of a chain of only children: the program itself. */
export function innermost(pid: number): number {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
  return child === undefined || child === '' ? pid : innermost(Number(child))
}
