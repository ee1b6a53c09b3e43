import { Button, Group } from '@mantine/core';
import { useDocumentVisibility } from '@mantine/hooks';
import { useEffect, useLayoutEffect, useRef } from 'react';
import { useAnswerWatch } from '../api/queries';
import type { Session, Watch } from '../api/types';
import { ProblemNote } from '../ui/ProblemNote';
import classes from './Viewer.module.css';
import { inWords } from './limits';
import { useServerNow } from './useServerNow';
import { questionOf } from './watches';

interface Props {
  session: Session;
  /** The keys go back to the desktop. */
  onGone: () => void;
}

/** Somebody asks to look on. The desktop goes on behind the question, which goes away by itself when its time is over. */
export function WatchQuestion({ session, onGone }: Props) {
  const now = useServerNow();
  const watch = questionOf(session, now);
  if (watch === null) return null;
  return <Question key={watch.id} session={session} watch={watch} left={Date.parse(watch.answer_by) - now} onGone={onGone} />;
}

function Question({ session, watch, left, onGone }: Props & { watch: Watch; left: number }) {
  const dialog = useRef<HTMLDivElement>(null);
  useOwnFocus(dialog, onGone);
  const answer = useAnswerWatch();
  const { mutate: see } = useAnswerWatch();
  const { id } = session;
  const visible = useDocumentVisibility() === 'visible';
  useEffect(() => {
    // What the hook says at first is a guess.
    if (visible && document.visibilityState === 'visible') see({ id, watch: watch.id, answer: 'seen' });
  }, [see, id, watch.id, visible]);
  const say = (word: 'allow' | 'decline') => () => answer.mutate({ id, watch: watch.id, answer: word });
  return (
    <div className={classes.question}>
      <div
        ref={dialog}
        className={classes.card}
        role="alertdialog"
        aria-modal="false"
        aria-labelledby="watch-question"
        aria-describedby="watch-question-what"
        tabIndex={-1}
      >
        <h1 id="watch-question">{watch.watcher.name} asks to look on</h1>
        <div id="watch-question-what">
          <p>
            They would see {session.name} as you see it, and could not type, click or copy anything. You can stop it at any time. Until you
            allow it they see nothing.
          </p>
          <p>
            Why: <strong>{watch.reason}</strong>
          </p>
        </div>
        {answer.isError && <ProblemNote error={answer.error} />}
        <Group justify="space-between">
          <span className={classes.left} aria-hidden>
            Declined by itself in {inWords(Math.max(0, left))}
          </span>
          <Group gap="xs" ml="auto">
            <Button variant="default" disabled={answer.isPending} onClick={say('decline')}>
              Decline
            </Button>
            <Button loading={answer.isPending} onClick={say('allow')}>
              Allow
            </Button>
          </Group>
        </Group>
      </div>
    </div>
  );
}

/** The question itself takes the keys, and none of its buttons: whoever is typing answers nothing by it, and is two tabs from an answer. */
function useOwnFocus(dialog: React.RefObject<HTMLDivElement | null>, onGone: () => void) {
  const gone = useRef(onGone);
  useEffect(() => {
    gone.current = onGone;
  });
  useLayoutEffect(() => {
    const { current } = dialog;
    current?.focus();
    return () => {
      if (current?.contains(document.activeElement)) gone.current();
    };
  }, [dialog]);
}
