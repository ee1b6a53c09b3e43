import { Button, Fieldset, Group as Row, NativeSelect, NumberInput, SimpleGrid, Stack, TextInput } from '@mantine/core';
import type { SubmitEvent } from 'react';
import { asProblem } from '../../api/problem';
import type { Workspace } from '../../api/types';
import { ProblemNote } from '../../ui/ProblemNote';
import { useDraft } from './useDraft';

/** What an entry of the catalogue is and takes. */
export type Entry = Pick<Workspace, 'name' | 'description' | 'icon' | 'image' | 'cpu' | 'memory_mb' | 'gpu' | 'network' | 'image_policy'>;

/** Of a new entry, what every server knows. */
export const basics = { name: '', description: '', icon: 'desktop', image: '', cpu: 1, memory_mb: 1024, gpu: 0, network: 'none' } as const;

/** A server of the release before knows no `image_policy`, so that is sent only where it is not as in any new entry: as the zone says. */
export const plain: Entry = { ...basics, image_policy: null };

const fields = Object.keys(plain) as (keyof Entry)[];

interface Props {
  /** What is now. It may change while somebody types: what they did not touch follows. */
  before: Entry;
  action: string;
  disabled?: boolean;
  error: unknown;
  pending: boolean;
  /** What somebody made other than it is, and nothing else. */
  onSend: (changes: Partial<Entry>, onDone: () => void) => void;
}

export function WorkspaceForm({ before, action, disabled = false, error, pending, onSend }: Props) {
  const { form: entry, set, saved } = useDraft(before);
  const changes: Partial<Entry> = Object.fromEntries(fields.filter((field) => entry[field] !== before[field]).map((field) => [field, entry[field]]));
  const problem = error ? asProblem(error) : null;
  const shownAtField = fields.some((field) => (problem?.at(field) ?? null) !== null);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    onSend(changes, saved);
  };
  return (
    <form onSubmit={submit} noValidate>
      <Fieldset legend="What it is" disabled={disabled}>
        <Stack gap="sm">
          <TextInput label="Name" value={entry.name} onChange={(event) => set({ name: event.currentTarget.value })} error={problem?.at('name')} />
          <TextInput
            label="Description"
            description="What somebody reads who has to choose"
            value={entry.description}
            onChange={(event) => set({ description: event.currentTarget.value })}
            error={problem?.at('description')}
          />
          <TextInput
            label="Image"
            description="As the agents' engines know it"
            placeholder="registry.example.org/desktop:1"
            autoCapitalize="none"
            spellCheck={false}
            value={entry.image}
            onChange={(event) => set({ image: event.currentTarget.value })}
            error={problem?.at('image')}
          />
          {entry.image_policy !== undefined && (
            <NativeSelect
              label="Where the image is not there yet"
              data={[
                { value: '', label: 'As the zone says' },
                { value: 'elsewhere', label: 'Go to an agent that has it' },
                { value: 'wait', label: 'Wait until the agent has loaded it' },
              ]}
              value={entry.image_policy ?? ''}
              onChange={(event) => set({ image_policy: (event.currentTarget.value || null) as Entry['image_policy'] })}
              error={problem?.at('image_policy')}
            />
          )}
          <SimpleGrid cols={2}>
            <NumberInput label="Cores" min={0} step={0.5} value={entry.cpu} onChange={(value) => set({ cpu: Number(value) })} error={problem?.at('cpu')} />
            <NumberInput
              label="Memory (MB)"
              min={0}
              step={256}
              allowDecimal={false}
              value={entry.memory_mb}
              onChange={(value) => set({ memory_mb: Number(value) })}
              error={problem?.at('memory_mb')}
            />
            <NumberInput label="Graphics cards" min={0} allowDecimal={false} value={entry.gpu} onChange={(value) => set({ gpu: Number(value) })} error={problem?.at('gpu')} />
            <NativeSelect
              label="Network"
              data={['none', 'internet', 'full']}
              value={entry.network}
              onChange={(event) => set({ network: event.currentTarget.value as Entry['network'] })}
              error={problem?.at('network')}
            />
            <NativeSelect
              label="Picture"
              data={[...new Set(['desktop', 'browser', 'terminal', entry.icon])]}
              value={entry.icon}
              onChange={(event) => set({ icon: event.currentTarget.value })}
              error={problem?.at('icon')}
            />
          </SimpleGrid>
          {problem && !shownAtField && <ProblemNote error={problem} />}
          <Row justify="flex-end">
            <Button type="submit" variant="light" loading={pending} disabled={Object.keys(changes).length === 0}>
              {action}
            </Button>
          </Row>
        </Stack>
      </Fieldset>
    </form>
  );
}
