import { Button, NativeSelect, Stack, TextInput } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import { useWant } from '../../../api/images';
import { asProblem } from '../../../api/problem';
import { ProblemNote } from '../../../ui/ProblemNote';

interface Props {
  zones: string[];
  /** The zone that the page shows; empty: all. */
  first: string;
  onDone: () => void;
}

export function WantImage({ zones, first, onDone }: Props) {
  const want = useWant();
  const [zone, setZone] = useState(first === '' ? (zones[0] ?? '') : first);
  const [reference, setReference] = useState('');
  const problem = want.error ? asProblem(want.error) : null;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    want.mutate({ zone, reference: reference.trim() }, { onSuccess: onDone });
  };
  return (
    <form onSubmit={submit} noValidate>
      <Stack>
        <NativeSelect label="Zone" description="Each of its agents loads it" data={zones} value={zone} onChange={(event) => setZone(event.currentTarget.value)} />
        <TextInput
          label="Image"
          description="With a tag or a digest. What comes is verified; a tag that is there already is not asked for again."
          placeholder="registry.example.org/desktop:1"
          autoCapitalize="none"
          spellCheck={false}
          value={reference}
          onChange={(event) => setReference(event.currentTarget.value)}
          error={problem?.at('reference')}
          data-autofocus
        />
        {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
        <Button type="submit" loading={want.isPending} disabled={reference.trim() === '' || zone === ''}>
          Want it
        </Button>
      </Stack>
    </form>
  );
}
