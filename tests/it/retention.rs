//! What is older than the retention goes, with everything that hangs on it; what somebody may still ask for
//! stays.

use deploywatch::domain::clock::SignedDuration;
use deploywatch::services::{retention, verification};
use deploywatch::store::deploys;
use deploywatch::store::incidents::{self, Which};

use crate::on_both_engines;
use crate::support::watch::{World, violations};

const DAY: SignedDuration = SignedDuration::from_hours(24);

on_both_engines! {
    async fn old_deploys_and_incidents_are_forgotten_but_the_newest_stays(store: TestStore) {
        let world = World::new(&store, vec![violations("users.email")]).await;
        world.target.script(|_, _| Ok(3.0));
        let failed = world.release("v1").await;
        world.pass(DAY).await;
        world.target.script(|_, _| Ok(0.0));
        let good = world.release("v2").await;
        world.pass(DAY + SignedDuration::from_hours(1)).await;
        let known = async || {
            let mut c = world.ctx.db.reader().await.unwrap();
            let deploys = deploys::list_deploys(&mut c, None, 10).await.unwrap();
            let incidents = incidents::list(&mut c, Which::All, None, 10).await.unwrap();
            (deploys.into_iter().map(|row| row.deploy.id).collect::<Vec<_>>(), incidents.len())
        };
        assert_eq!(known().await, (vec![good.clone(), failed.clone()], 1));

        world.clock.advance(DAY * 88);
        retention::forget(&world.ctx).await.unwrap();
        assert_eq!(known().await.0.len(), 2, "90 days are not over for either");

        world.clock.advance(DAY * 3);
        assert!(retention::forget(&world.ctx).await.unwrap() > 300, "the observations of a day and more");
        assert_eq!(known().await.0, vec![good.clone()], "the next gate asks about the newest");
        assert!(world.observations(&failed).await.is_empty());
        assert!(!world.observations(&good).await.is_empty());
        assert!(verification::get(&world.ctx, &failed).await.is_err());
        assert_eq!(retention::forget(&world.ctx).await.unwrap(), 0, "nothing is left to do");
    }
}
